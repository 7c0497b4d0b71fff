#include "casdm/parallel.h"

#include <ATen/ATen.h>
#include <ATen/TensorIterator.h>

namespace casdm {

void run_parallel(std::int64_t count, const std::function<void(std::int64_t)>& task) {
  at::Tensor indices = at::arange(count, at::kLong);
  at::TensorIterator::nullary_op(indices).for_each(
      [&task](char** data, const std::int64_t* strides, std::int64_t inner, std::int64_t outer) {
        for (std::int64_t j = 0; j < outer; ++j) {
          const char* index = data[0] + j * strides[1];
          for (std::int64_t i = 0; i < inner; ++i, index += strides[0]) {
            task(*reinterpret_cast<const std::int64_t*>(index));
          }
        }
      },
      /*grain_size=*/1);
}

}  // namespace casdm
