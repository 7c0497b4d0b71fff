#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "framework/config/evaluate_options.h"
#include "framework/sampling/run_sampler.h"

namespace casdm {

/// The arguments of `casdm evaluate`.
struct EvaluateArguments : SamplingRequest {
  std::string what;
  std::string reference;
  std::string config;
  std::string weights_list;
  std::string guidance_list;
  std::string steps_list;
  std::string out;
  std::string state;
  std::string write_reference;
  std::string held_out;
  std::string nearest_by;
  std::optional<std::int64_t> nearest;
  std::optional<std::int64_t> num;
  std::optional<std::int64_t> size;
  bool floor = false;
  bool json = false;
  bool overwrite = false;
  bool no_cache = false;
};

/// Sets `target` from the command line and checks what can be checked without looking at files; false after --help was
/// printed. Throws ConfigError.
bool fill_evaluate_arguments(EvaluateArguments& target, const std::vector<std::string>& arguments);

/// Throws ConfigError for options that apply only to images if a run is judged, and the other way round.
void check_options(const EvaluateArguments& a, bool is_run);

/// What to sample: one request for each combination of weights, guidance and steps.
std::vector<SamplingRequest> sampling_requests(const EvaluateArguments& a, const EvaluateOptions& options,
                                               const std::vector<std::string>& overrides);

}  // namespace casdm
