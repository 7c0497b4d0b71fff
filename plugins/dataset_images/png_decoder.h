#pragma once

#include "decoding.h"

namespace casdm::dataset_images {

/// A PNG, prepared as `spec` asks. Transparent pixels are blended over white, 16-bit samples are rounded to 8 bits.
/// Throws Error if the file is damaged, ends too early or exceeds the limits.
DecodedImage decode_png(Bytes bytes, const Dataset::Spec& spec);

}  // namespace casdm::dataset_images
