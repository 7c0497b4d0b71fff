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

constexpr std::size_t kLargestLog = std::size_t{1} << 31, kLargestStateFile = 64 << 20;
constexpr int kMostDepth = 8;  // of a chain of runs that took weights from one another
constexpr std::size_t kMostRuns = 64, kMostExperiments = 256, kMostChanges = 10'000;

/// The resumes recorded in the log of `run`, oldest first. Of several at one checkpoint the last holds: what the others
/// trained was set aside.
std::vector<Value> resumes_in(const fs::path& run) {
  std::vector<Value> result;
  const std::string log = read_regular_file(run / "metrics.jsonl", kLargestLog);
  for (std::size_t start = 0; start < log.size();) {
    const std::size_t end = std::min(log.find('\n', start), log.size());
    const std::string_view line = std::string_view(log).substr(start, end - start);
    start = end + 1;
    if (!line.starts_with("{\"resumed\"")) continue;
    Value resume = from_json(line);
    const Value* at = resume.find("images");
    if (at == nullptr || !at->is_integer()) continue;
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

/// The experiment of the checkpoint that holds `file`; null: it is no checkpoint's, or no longer the one of `sum`.
Value experiment_beside(const fs::path& file, const std::string& sum) {
  const fs::path state = file.parent_path() / "state.json";
  if (!is_there(state)) return {};
  const Value record = from_json(read_regular_file(state, kLargestStateFile));
  const Value* files = record.find("files");
  const Value* own = files != nullptr ? files->find(file.filename().string()) : nullptr;
  const Value* digest = own != nullptr ? own->find("sha256") : nullptr;
  const Value* config = record.find("config");
  return digest != nullptr && *digest == Value(sum) && config != nullptr ? *config : Value();
}

/// The number of images in a name such as 000000050000-0.05.safetensors; nothing for other names.
std::optional<std::int64_t> images_in(const std::string& name) {
  constexpr std::size_t kDigits = 12;
  const bool has_number = name.size() > kDigits && name.find_first_not_of("0123456789") == kDigits;
  return has_number ? std::optional(std::stoll(name.substr(0, kDigits))) : std::nullopt;
}

/// What is known of the experiment that made some weights: it, if `experiment` is not null; nothing, if they are of
/// another branch of the run; or else the run's own says it.
struct Made {
  Value experiment;
  bool is_unknown = false;
};

/// @param run  the run whose folder contained `file` when it had the SHA-256 `sum`
Made made_by(const fs::path& run, const fs::path& file, const std::string& sum) {
  Made made{experiment_beside(file, sum)};
  if (!made.experiment.is_null()) return made;
  made.is_unknown = is_there(file.parent_path() / "state.json");
  for (int i = 1; is_there(run / text("set-aside-", i)); ++i) {
    made.is_unknown = true;
    std::error_code ignored;
    const fs::path inside = fs::weakly_canonical(file, ignored).lexically_relative(run);
    Value found = experiment_beside(run / text("set-aside-", i) / inside, sum);
    if (!found.is_null()) return {std::move(found)};
  }
  return made;
}

/// What a run's init.json says of one run from which weights were taken: what made them, by their images.
using Source = std::map<std::int64_t, Made>;

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
    const Value* seen = taken.find("images");
    const Value* sum = taken.find("sha256");
    const fs::path path = file->as_string();
    const std::int64_t images = seen != nullptr && seen->is_integer()
                                    ? seen->as_integer()
                                    : images_in(path.filename()).value_or(std::numeric_limits<std::int64_t>::max());
    Made& made = source[images];
    if (made.experiment.is_null() && sum != nullptr && sum->is_string()) made = made_by(folder, path, sum->as_string());
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
    for (const std::string& of : unknown_) {
      remarks.push_back(text("the run took weights ", of, ", which went another way since and has them no longer: ",
                             "whether a judge is a network that they were trained with is not known"));
    }
    return std::move(result_);
  }

 private:
  /// @param experiment  of the run after `images` images
  void add_resumes(const fs::path& run, Value experiment, std::int64_t images, const std::string& of) {
    const std::vector<Value> resumes = resumes_in(run);
    for (auto resume = resumes.rbegin(); resume != resumes.rend(); ++resume) {
      if (resume->find("images")->as_integer() >= images || !takes_back(*resume, experiment)) continue;
      add({text("until ", resume->find("images")->as_integer(), " images", of), experiment});
    }
  }

  /// Sets `experiment` back to what it was before the resume; false: that changed nothing.
  bool takes_back(const Value& resume, Value& experiment) {
    const Value* changed = resume.find("changed");
    if (changed == nullptr || !changed->is_table() || changed->as_table().empty()) return false;
    for (const auto& [key, change] : changed->as_table()) {
      if (++changes_ > kMostChanges) {
        is_cut_ = true;
        return false;
      }
      if (const Value* from = change.find("from")) set_back(experiment, key, *from);
    }
    return true;
  }

  /// That of a run's config.toml without the resumes after `images` images.
  Value experiment_at(const fs::path& run, std::int64_t images) {
    Value experiment = load_document(run / "config.toml");
    const std::vector<Value> resumes = resumes_in(run);
    for (auto resume = resumes.rbegin(); resume != resumes.rend(); ++resume) {
      if (resume->find("images")->as_integer() >= images) takes_back(*resume, experiment);
    }
    return experiment;
  }

  void add_sources(const fs::path& run, const std::string& of, int depth) {
    for (auto& [folder, source] : sources_of(run)) {
      const std::string when = text(" of ", printable(folder.string()), of);
      Value last;
      std::int64_t last_images = 0;
      for (auto& [images, made] : source) {
        if (is_cut_) return;
        if (made.is_unknown) {
          unknown_.push_back(when.substr(1));
          continue;
        }
        last_images = images;
        if (made.experiment.is_null()) made.experiment = experiment_at(folder, images);
        if (made.experiment == last) continue;
        last = std::move(made.experiment);
        add({when.substr(1), last});
      }
      if (last.is_null()) continue;
      add_run(folder, last, last_images, when, depth + 1);
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
  std::vector<std::string> unknown_;  ///< weights: "of runs/teacher"
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
