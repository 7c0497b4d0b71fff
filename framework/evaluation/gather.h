#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "framework/evaluation/judges.h"
#include "framework/evaluation/stored_images.h"

namespace casdm {

/// A set of images that was judged, and what was noticed about them.
struct JudgedSet {
  SetState state;
  std::int64_t of_one_colour = 0;  ///< images whose pixels are all equal
  bool are_all_equal = true;       ///< every image is the first one
};

struct GatherOptions {
  std::string title;                   ///< of the progress: "judging"
  std::filesystem::path state_file;    ///< where an interrupted set is kept; empty: nowhere
  std::function<bool()> is_cancelled;  ///< may be empty
  std::vector<bool> wanted;            ///< which metrics; empty: all
};

/// The evaluation was interrupted; what was done is in the state file, where there is one.
class EvaluationStopped : public Error {
 public:
  using Error::Error;
};

/// Judges all images of `stream`. They are taken in blocks of one size, whatever their source delivers at once, so the
/// result does not depend on that, and a set that was interrupted ends with the same bits.
/// Throws EvaluationStopped; ConfigError when the state file is of another set; Error when it is damaged.
JudgedSet gather(const ImageStream& stream, const Judges& judges, const GatherOptions& options);

/// The number of threads that the set of a state file was judged with, on which its last bits depend; 0: not known.
std::int64_t threads_of_state(const std::filesystem::path& state_file);

/// The tensors of a set under "<metric>/<name>", and back. Throws Error when some are missing.
NamedTensors flat_state(const SetState& set);
SetState unflattened(const NamedTensors& tensors, const Judges& judges, std::int64_t images);

}  // namespace casdm
