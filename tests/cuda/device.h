#pragma once

#include <memory>
#include <string>
#include <vector>

#include "casdm/value.h"
#include "framework/device/device.h"

namespace casdm::testing {

/// The CUDA device. If there is none, the program has ended with status 77, "skipped", before its first test.
c10::Device cuda();

/// Selects the device for a run in this precision. Whether products are in TF32 stays as it is until another precision
/// is selected, also across tests.
void compute_in(Precision precision);

/// While what it returns lives, code of the host that accesses the device's memory crashes, as it does on a GPU.
std::shared_ptr<void> guarded_memory();

/// The overrides that put a run on the CUDA device.
std::vector<std::string> on_cuda(std::vector<std::string> overrides = {});

/// |a - b| / max(|a|, |b|, 1e-9); infinite where that is not a number.
double relative_difference(double a, double b);

/// Compares two lines of metrics.jsonl: the largest relative difference between the means of their loss terms and
/// between their gradient norms.
struct LineDifference {
  double loss = 0;
  double gradient = 0;
};
LineDifference difference(const Value& line, const Value& other);

}  // namespace casdm::testing
