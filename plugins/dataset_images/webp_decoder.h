#pragma once

#include "decoding.h"

namespace casdm::dataset_images {

/// A WebP, prepared as `spec` wants it. Transparent pixels are laid on white.
/// Throws Error when the file is damaged, ends too early, is an animation, or is beyond the limits: it is decoded as a
/// whole.
DecodedImage decode_webp(Bytes bytes, const Dataset::Spec& spec);

}  // namespace casdm::dataset_images
