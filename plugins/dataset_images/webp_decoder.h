#pragma once

#include "decoding.h"

namespace casdm::dataset_images {

/// A WebP, prepared as `spec` asks. Transparent pixels are blended over white. Throws Error if the file is damaged,
/// ends too early, is an animation, or exceeds the limits; it is decoded as a whole.
DecodedImage decode_webp(Bytes bytes, const Dataset::Spec& spec);

}  // namespace casdm::dataset_images
