#include "framework/standin/standin.h"

namespace {

/// Linked to the program's main(), it makes the stand-in the CUDA device of the program.
[[maybe_unused]] const bool is_offered = [] {
  casdm::use_cuda_backend(casdm::standin::cuda_standin());
  return true;
}();

}  // namespace
