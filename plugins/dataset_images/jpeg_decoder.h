#pragma once

#include "decoding.h"

namespace casdm::dataset_images {

/// A JPEG, prepared as `spec` asks. CMYK becomes RGB.
///
/// libjpeg fills in what a damaged file lacks and only warns. A warning stops the decoding unless all pixels are there,
/// as libjpeg and browsers show them: bytes between segments, scan parameters, or a JFIF revision or Adobe colour
/// transform that the standard does not define. Throws Error if the file is damaged, ends too early or exceeds the
/// limits.
DecodedImage decode_jpeg(Bytes bytes, const Dataset::Spec& spec);

}  // namespace casdm::dataset_images
