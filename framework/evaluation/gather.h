#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "framework/evaluation/judges.h"
#include "framework/evaluation/stored_images.h"

namespace casdm {

/// A set of images that was judged, with observations about them.
struct JudgedSet {
  SetState state;
  std::int64_t of_one_colour = 0;  ///< images whose pixels are all equal
  bool are_all_equal = true;       ///< whether all images are identical
};

struct GatherOptions {
  std::string title;                   ///< for the progress line: "judging"
  std::filesystem::path state_file;    ///< stores an interrupted set; empty: it is not stored
  std::function<bool()> is_cancelled;  ///< may be empty
  std::vector<bool> wanted;            ///< which metrics; empty: all
};

/// The evaluation was interrupted; completed work is in the state file, if there is one.
class EvaluationStopped : public Error {
 public:
  using Error::Error;
};

/// Judges all images of `stream`. They are processed in blocks of one size, however many the source delivers at once,
/// so the result does not depend on that, and an interrupted set ends with the same bits. Throws EvaluationStopped;
/// ConfigError if the state file belongs to another set; Error if it is damaged.
JudgedSet gather(const ImageStream& stream, const Judges& judges, const GatherOptions& options);

/// The number of threads with which a state file was made, which affects the last bits of the result; 0: unknown.
std::int64_t threads_of_state(const std::filesystem::path& state_file);

/// Converts the tensors of a set to and from "<metric>/<name>". Throws Error if some are missing.
NamedTensors flat_state(const SetState& set);
SetState unflattened(const NamedTensors& tensors, const Judges& judges, std::int64_t images);

}  // namespace casdm
