// Counts what the GPU does for a process: kernels by name, copies by memory type, waits. The driver loads it:
//
//     CUDA_INJECTION64_PATH=libgpu_trace.so GPU_TRACE=FILE program ...
//
// FILE gets one line for each: count, milliseconds, bytes, name, separated by tabs. benchmarks/gpu.sh builds it.
#include <cupti.h>
#include <cxxabi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace {

struct Sum {
  long count = 0;
  double ms = 0;
  double bytes = 0;
};

std::mutex mutex;
std::map<std::string, Sum> sums;

void add(const std::string& name, unsigned long long start, unsigned long long end, double bytes = 0) {
  Sum& sum = sums[name];
  ++sum.count;
  sum.ms += static_cast<double>(end - start) * 1e-6;
  sum.bytes += bytes;
}

const char* memory(unsigned char kind) {
  switch (kind) {
    case CUPTI_ACTIVITY_MEMORY_KIND_PAGEABLE:
      return "pageable";
    case CUPTI_ACTIVITY_MEMORY_KIND_PINNED:
      return "pinned";
    case CUPTI_ACTIVITY_MEMORY_KIND_DEVICE:
      return "device";
    default:
      return "other";
  }
}

void CUPTIAPI give(uint8_t** buffer, size_t* size, size_t* most) {
  *size = 8 << 20;
  *buffer = static_cast<uint8_t*>(std::aligned_alloc(8, *size));
  *most = 0;
}

void CUPTIAPI take(CUcontext, uint32_t, uint8_t* buffer, size_t, size_t valid) {
  const std::lock_guard lock(mutex);
  CUpti_Activity* record = nullptr;
  while (cuptiActivityGetNextRecord(buffer, valid, &record) == CUPTI_SUCCESS) {
    switch (record->kind) {
      case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL: {
        const auto* kernel = reinterpret_cast<CUpti_ActivityKernel10*>(record);
        add(std::string("kernel ") + (kernel->name ? kernel->name : "?"), kernel->start, kernel->end);
        break;
      }
      case CUPTI_ACTIVITY_KIND_MEMCPY: {
        const auto* copy = reinterpret_cast<CUpti_ActivityMemcpy6*>(record);
        add(std::string("copy ") + memory(copy->srcKind) + " to " + memory(copy->dstKind), copy->start, copy->end,
            static_cast<double>(copy->bytes));
        break;
      }
      case CUPTI_ACTIVITY_KIND_MEMSET: {
        const auto* set = reinterpret_cast<CUpti_ActivityMemset4*>(record);
        add("memset", set->start, set->end, static_cast<double>(set->bytes));
        break;
      }
      case CUPTI_ACTIVITY_KIND_SYNCHRONIZATION: {
        const auto* sync = reinterpret_cast<CUpti_ActivitySynchronization2*>(record);
        static const char* const kNames[] = {"?", "for an event", "of a stream for an event", "for a stream",
                                             "for all"};
        add(std::string("wait ") + kNames[sync->type < std::size(kNames) ? sync->type : 0], sync->start, sync->end);
        break;
      }
      default:
        break;
    }
  }
  std::free(buffer);
}

std::string plain(const std::string& name) {
  const std::size_t space = name.find(' ');
  int status = 0;
  char* text = abi::__cxa_demangle(name.c_str() + space + 1, nullptr, nullptr, &status);
  std::string result = text ? name.substr(0, space + 1) + text : name;
  std::free(text);
  return result;
}

void print() {
  cuptiActivityFlushAll(1);
  const std::lock_guard lock(mutex);
  const char* path = std::getenv("GPU_TRACE");
  FILE* file = path ? std::fopen(path, "w") : stderr;
  if (file == nullptr) return;
  std::vector<std::pair<std::string, Sum>> rows(sums.begin(), sums.end());
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.second.ms > b.second.ms; });
  for (const auto& [name, sum] : rows) {
    std::fprintf(file, "%ld\t%.3f\t%.0f\t%s\n", sum.count, sum.ms, sum.bytes, plain(name).c_str());
  }
  if (file != stderr) std::fclose(file);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int InitializeInjection() {
  cuptiActivityRegisterCallbacks(give, take);
  for (const CUpti_ActivityKind kind : {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, CUPTI_ACTIVITY_KIND_MEMCPY,
                                        CUPTI_ACTIVITY_KIND_MEMSET, CUPTI_ACTIVITY_KIND_SYNCHRONIZATION}) {
    cuptiActivityEnable(kind);
  }
  std::atexit(print);
  return 1;
}
