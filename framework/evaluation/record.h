#pragma once

#include <optional>
#include <string>
#include <vector>

#include "framework/evaluation/gather.h"
#include "framework/evaluation/reference.h"
#include "framework/evaluation/trained_with.h"

namespace casdm {

/// What was judged.
struct Evaluation {
  std::string what;          ///< "run", "images" or "floor"
  std::string name;          ///< for people: a path
  std::optional<Value> run;  ///< a table of how the images were drawn
};

/// The record that evaluation.md describes, sealed: the scores of a set and everything a reader must know about them.
Value record_of(const Evaluation& evaluation, const JudgedSet& set, const Reference& reference, const Judges& judges,
                const TrainedWith& trained_with, const std::vector<std::string>& remarks, const PluginHost& host);

/// The warnings of a record.
/// @param scores  the results
std::vector<std::string> warnings_of(const JudgedSet& set, const Reference& reference, const Judges& judges,
                                     const TrainedWith& trained_with, const std::vector<JudgedScore>& scores);

/// Records as a table for people: for one record a line per score, for several a line per record. Ends with the
/// warnings.
std::string table_of(const std::vector<Value>& records);

/// "12,345".
std::string grouped(std::int64_t count);

}  // namespace casdm
