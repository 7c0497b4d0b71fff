#include "framework/evaluation/earlier_experiments.h"

#include <algorithm>
#include <map>
#include <set>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/config/key_path.h"
#include "framework/evaluation/gather.h"
#include "framework/support/files.h"
#include "framework/support/sealed_json.h"
#include "framework/training/signals.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kLargestLog = std::size_t{1} << 31;
constexpr int kMostDepth = 8;  // of a chain of runs that took weights from one another
constexpr std::size_t kMostRuns = 64, kMostExperiments = 256, kMostChanges = 10'000;

/// The resumes recorded in the log of `run` before `images` images, oldest first. Of several at one checkpoint the last
/// holds: what the others trained was set aside.
std::vector<Value> resumes_in(const fs::path& run, std::int64_t images) {
  std::vector<Value> result;
  const std::string log = read_regular_file(run / "metrics.jsonl", kLargestLog);
  for (std::size_t start = 0; start < log.size();) {
    const std::size_t end = std::min(log.find('\n', start), log.size());
    const std::string_view line = std::string_view(log).substr(start, end - start);
    start = end + 1;
    if (!line.starts_with("{\"resumed\"")) continue;
    Value resume = from_json(line);
    const Value* at = resume.find("images");
    if (at == nullptr || !at->is_integer() || at->as_integer() >= images) continue;
    if (!result.empty() && *result.back().find("images") == *at) result.pop_back();
    result.push_back(std::move(resume));
  }
  return result;
}

/// Sets what is at `path` back to `before`, or removes it if there was nothing.
void set_back(Value& root, const std::string& path, const Value& before) {
  Value* at = &root;
  const std::vector<KeyPart> parts = split_key_path(path);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string& name = parts[i].name;
    const std::optional<std::size_t> index = index_of(name);
    if (at->is_array() && index && *index < at->as_array().size()) {
      at = &at->as_array()[*index];
      continue;
    }
    if (!at->is_table()) return;
    if (i + 1 == parts.size() && before.is_null()) {
      std::erase_if(at->as_table(), [&](const Value::Member& member) { return member.first == name; });
      return;
    }
    if (at->find(name) == nullptr) at->set(name, Value(Value::Table{}));
    at = at->find(name);
  }
  *at = before;
}

/// The run folder that contains `file`; empty: none does.
fs::path run_of(const fs::path& file) {
  std::error_code ignored;
  fs::path folder = file.parent_path();
  for (int i = 0; i < 3 && folder.has_relative_path(); ++i, folder = folder.parent_path()) {
    if (fs::is_regular_file(folder / "config.toml", ignored) && fs::exists(folder / "metrics.jsonl", ignored))
      return folder;
  }
  return {};
}

/// What a run's init.json says of one run from which weights were taken.
struct Source {
  std::int64_t images = 0;
  std::set<fs::path> experiments;  ///< files, beside the weights if they are a checkpoint's
};

/// The runs that init.json of `run` names, by canonical path.
std::map<fs::path, Source> sources_of(const fs::path& run) {
  std::map<fs::path, Source> sources;
  std::error_code failure;
  if (!fs::exists(run / "init.json", failure)) return sources;
  const Value record = from_json(read_regular_file(run / "init.json", kLargestRecord));
  for (const auto& [module, taken] : record.as_table()) {
    const Value* file = taken.find("file");
    const fs::path found = file != nullptr && file->is_string() ? run_of(file->as_string()) : fs::path();
    const fs::path folder = found.empty() ? found : fs::canonical(found, failure);
    if (folder.empty() || failure) continue;
    Source& source = sources[folder];
    const Value* images = taken.find("images");
    source.images =
        std::max(source.images, images != nullptr && images->is_integer() ? images->as_integer()
                                                                          : std::numeric_limits<std::int64_t>::max());
    const fs::path beside = fs::path(file->as_string()).parent_path() / "config.toml";
    const fs::path own = fs::canonical(beside, failure);
    source.experiments.insert(failure ? folder / "config.toml" : own);
  }
  return sources;
}

/// Follows resumes and sources, within limits: a run from elsewhere may name any number of either.
class Search {
 public:
  /// @param of  whose experiments these are: "", " of runs/teacher"
  void add_run(const fs::path& run, const Value& experiment, std::int64_t images, const std::string& of, int depth) {
    if (depth == kMostDepth || known_.size() == kMostRuns) {
      is_cut_ = true;
      return;
    }
    std::error_code failure;
    if (!known_.insert(fs::canonical(run, failure)).second || failure) return;
    try {
      add_resumes(run, experiment, images, of);
      add_sources(run, of, depth);
    } catch (const EvaluationStopped&) {
      throw;
    } catch (const Error&) {  // gone, or damaged
    }
  }

  std::vector<EarlierExperiment> take(std::vector<std::string>& remarks) {
    if (is_cut_) {
      remarks.push_back(text("the run has more earlier experiments than are looked at (", kMostExperiments, ", with ",
                             kMostChanges, " changed options, of ", kMostRuns, " runs, ", kMostDepth,
                             " of which in a chain): a judge may be a network of one that was left out"));
    }
    return std::move(result_);
  }

 private:
  void add_resumes(const fs::path& run, Value experiment, std::int64_t images, const std::string& of) {
    std::vector<Value> resumes = resumes_in(run, images);
    for (auto resume = resumes.rbegin(); resume != resumes.rend(); ++resume) {
      const Value* changed = resume->find("changed");
      if (changed == nullptr || !changed->is_table() || changed->as_table().empty()) continue;
      for (const auto& [key, change] : changed->as_table()) {
        if (++changes_ > kMostChanges) {
          is_cut_ = true;
          return;
        }
        if (const Value* from = change.find("from")) set_back(experiment, key, *from);
      }
      add({text("until ", resume->find("images")->as_integer(), " images", of), experiment});
    }
  }

  void add_sources(const fs::path& run, const std::string& of, int depth) {
    for (const auto& [folder, source] : sources_of(run)) {
      const std::string when = text(" of ", printable(folder.string()), of);
      Value experiment;
      for (const fs::path& file : source.experiments) {
        if (is_cut_) return;
        Value found = load_document(file);
        if (found == experiment) continue;
        experiment = std::move(found);
        add({when.substr(1), experiment});
      }
      add_run(folder, experiment, source.images, when, depth + 1);
    }
  }

  void add(EarlierExperiment experiment) {
    if (interrupted()) throw EvaluationStopped("interrupted");
    if (result_.size() == kMostExperiments) {
      is_cut_ = true;
      return;
    }
    result_.push_back(std::move(experiment));
  }

  std::vector<EarlierExperiment> result_;
  std::set<fs::path> known_;
  std::size_t changes_ = 0;
  bool is_cut_ = false;
};

}  // namespace

std::vector<EarlierExperiment> earlier_experiments(const fs::path& folder, const Value& experiment,
                                                   std::vector<std::string>& remarks, std::int64_t images) {
  Search search;
  if (!folder.empty()) search.add_run(folder, experiment, images, "", 0);
  return search.take(remarks);
}

}  // namespace casdm
