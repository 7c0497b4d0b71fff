#include "framework/device/cuda_graph.h"

#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <exception>

namespace casdm {

namespace {

class CudaGraph final : public DeviceGraph {
 public:
  explicit CudaGraph(const std::function<void()>& work) {
    // A recording needs a stream of its own, and takes its memory from none of the blocks that others have freed.
    c10::cuda::device_synchronize();
    c10::cuda::CUDACachingAllocator::emptyCache();
    const c10::cuda::CUDAStreamGuard guard(c10::cuda::getStreamFromPool());
    // Only the recording threads are kept from what is not allowed meanwhile; others, such as that which loads images,
    // go on.
    graph_.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    try {
      work();
    } catch (...) {
      end_after_failure();
      throw;
    }
    graph_.capture_end();
  }

  void replay() override { graph_.replay(); }

 private:
  void end_after_failure() noexcept {
    try {
      graph_.capture_end();
    } catch (const std::exception&) {  // the failure itself has made the recording invalid
    }
  }

  at::cuda::CUDAGraph graph_;
};

}  // namespace

std::unique_ptr<DeviceGraph> record_on_cuda(const std::function<void()>& work) {
  return std::make_unique<CudaGraph>(work);
}

}  // namespace casdm
