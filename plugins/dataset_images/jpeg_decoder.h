#pragma once

#include "decoding.h"

namespace casdm::dataset_images {

/// A JPEG, prepared as `spec` wants it. CMYK becomes RGB.
///
/// libjpeg fills in what a damaged file lacks and only warns. A warning stops the decoding unless the pixels are all
/// there, as libjpeg and browsers show them: bytes between segments, scan parameters, a JFIF revision or an Adobe
/// colour transform that the standard does not know.
/// Throws Error when the file is damaged, ends too early or is beyond the limits.
DecodedImage decode_jpeg(Bytes bytes, const Dataset::Spec& spec);

}  // namespace casdm::dataset_images
