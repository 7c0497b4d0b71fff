#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "framework/commands/evaluate_arguments.h"
#include "framework/evaluation/evaluation_file.h"
#include "framework/evaluation/nearest_images.h"

namespace casdm {

/// `casdm evaluate --nearest`: for the first images of every set that is judged, the nearest images of the reference.
class NearestSearch {
 public:
  /// Chooses the judge whose features define "nearest": one of `judges`, which must outlive this object, or an
  /// extractor that only --nearest-by names. Throws ConfigError if it names neither.
  NearestSearch(const EvaluateArguments& a, const Judges& judges, const PluginHost& host, c10::Device device);

  /// Sets the images that are searched.
  /// @param indices  the index of each of them in its data set
  /// @param sha256   of the reference; see Reference
  void set_reference(ImageStream reference, std::vector<std::int64_t> indices, std::string sha256);

  /// Searches for stored images.
  /// @param own  the index of each of them in its data set
  void find(const ImageStream& images, std::vector<std::int64_t> own);

  /// Searches for images of a run, or takes what the run's folder holds from an earlier search. A result that cannot be
  /// stored there is only warned about.
  /// @param may_keep  asked before storing; it tells the user if the answer is no
  void find_of_run(const DrawnImages& images, const ImageStream& stream, const EvaluationFile& file,
                   const std::function<bool()>& may_keep);

  /// The results so far, one per set; see nearest_images().
  const std::vector<Value>& found() const { return found_; }

 private:
  const Judges& judges() const { return own_judge_ ? *own_judge_ : judges_; }
  std::optional<Value> earlier(const std::filesystem::path& kept_in) const;

  const Judges& judges_;
  std::optional<Judges> own_judge_;  ///< if it is no judge of the evaluation
  bool looks_again_;                 ///< even if the run's folder holds a result
  ImageStream reference_;
  std::string sha256_;
  NearestRequest request_;
  std::vector<Value> found_;
};

}  // namespace casdm
