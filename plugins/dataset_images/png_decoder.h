#pragma once

#include "decoding.h"

namespace casdm::dataset_images {

/// A PNG, prepared as `spec` wants it. Transparent pixels are laid on white, 16-bit samples are rounded to 8.
/// Throws Error when the file is damaged, ends too early or is beyond the limits.
DecodedImage decode_png(Bytes bytes, const Dataset::Spec& spec);

}  // namespace casdm::dataset_images
