#include "framework/comparison/sweep_file.h"

#include <algorithm>
#include <map>
#include <set>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/comparison/run_record.h"
#include "framework/comparison/sweep_evaluation.h"
#include "framework/config/cross_checks.h"
#include "framework/config/document.h"
#include "framework/config/experiment.h"
#include "framework/config/json_schema.h"
#include "framework/config/key_path.h"
#include "framework/config/merge.h"
#include "framework/config/overrides.h"
#include "framework/config/problems.h"
#include "framework/config/resolve_named.h"
#include "framework/support/files.h"
#include "framework/training/experiment_change.h"

namespace casdm {

namespace fs = std::filesystem;

void SweepArm::describe(Schema<SweepArm>& s) {
  s.option("name", &SweepArm::name, "Name of the arm, in tables and at the start of its run folders.")
      .file_name()
      .required();
  s.option("include", &SweepArm::include, "Pieces of an experiment merged over the base, in order.");
  s.option("set", &SweepArm::set, "Keys set after that, as with `--set`; paths are relative to this file.")
      .example(Value::Array{"train.batch_size=32"});
}

void SweepAxis::describe(Schema<SweepAxis>& s) {
  s.option("key", &SweepAxis::key, "A key of the experiment.").required().example("optimizer.learning_rate");
  s.option(
       "values", &SweepAxis::values,
       "What it is set to, one run of each arm and seed for each: numbers, booleans and arrays as in an experiment, "
       "or strings as on the right of `=` in `--set`.")
      .required();
}

void SweepOptions::describe(Schema<SweepOptions>& s) {
  s.option("name", &SweepOptions::name, "Name of the sweep, and of its folder in `directory`.").file_name().required();
  s.option("base", &SweepOptions::base, "The experiment that all arms share: a file, or several merged in order.")
      .required();
  s.option("set", &SweepOptions::set, "Keys set in every arm, as with `--set`; paths are relative to this file.")
      .example(Value::Array{"train.total_images=8k"});
  s.option("seeds", &SweepOptions::seeds, "Each arm is trained once with each of these as `run.seed`.").at_least(0);
  s.option("baseline", &SweepOptions::baseline, "The arm that the others are compared with; empty: the first.");
  s.option("directory", &SweepOptions::directory, "Folder of the sweep's folder; relative to the working directory.");
  s.option("evaluate", &SweepOptions::evaluate,
           "Evaluate each run when it is trained, with these options of `casdm evaluate`; "
           "left out: no evaluation.")
      .example(Value::Array{"--num", "1000"});
  s.option("arms", &SweepOptions::arms, "What is compared, one table each.").required();
  s.option("grid", &SweepOptions::grid, "Every arm is trained at every combination of these, one table for each key.");
}

namespace {

constexpr std::size_t kMostCells = 1000;
constexpr std::size_t kLongestPart = 60;  // of a value in a folder's name
constexpr const char* kArms = "arms";

Location location_of(const Value* value, const Value& fallback) {
  return value == nullptr ? fallback.location() : value->location();
}

/// Allows a single string in place of an array of strings, and numbers in `values`, as --set reads them.
void loosen(Value& document) {
  const auto listed = [](Value* value) {
    if (value == nullptr || !value->is_string()) return;
    Value list(Value::Array{*value});
    list.set_location(value->location());
    *value = std::move(list);
  };
  for (const char* key : {"base", "set"}) listed(document.find(key));
  const auto each_table = [&](const char* key, const auto& use) {
    Value* array = document.find(key);
    if (array == nullptr || !array->is_array()) return;
    for (Value& table : array->as_array()) use(table);
  };
  each_table(kArms, [&](Value& arm) {
    for (const char* key : {"include", "set"}) listed(arm.find(key));
  });
  each_table("grid", [&](Value& axis) {
    Value* values = axis.find("values");
    if (values == nullptr || !values->is_array()) return;
    for (Value& value : values->as_array()) {
      if (value.is_string() || value.is_null()) continue;
      Value written(to_toml_value(value));
      written.set_location(value.location());
      value = std::move(written);
    }
  });
}

/// One choice for each axis of the grid.
struct GridPoint {
  std::vector<Value> lines;  ///< "key=value"
  std::string name;          ///< " key=value" for each, for people
  std::string folder;        ///< "-key=value" for each
};

/// The characters that are safe in a folder's name.
std::string plain(const std::string& content) {
  std::string result;
  for (const char c : content.substr(0, kLongestPart)) {
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                          std::string_view("+-._=").find(c) != std::string_view::npos;
    result += is_plain ? c : '_';
  }
  return result;
}

std::vector<GridPoint> grid_points(const SweepOptions& options, const Value& document) {
  std::vector<GridPoint> points{{}};
  for (std::size_t i = 0; i < options.grid.size(); ++i) {
    const SweepAxis& axis = options.grid[i];
    const Location place = document.find("grid")->as_array()[i].find("values")->location();
    if (axis.values.empty()) fail_at(place, "a key of the grid needs at least one value");
    std::vector<GridPoint> longer;
    for (const GridPoint& point : points) {
      for (const std::string& value : axis.values) {
        GridPoint next = point;
        Value line(text(axis.key, "=", value));
        line.set_location(place);
        next.lines.push_back(std::move(line));
        next.name += text(" ", axis.key, "=", value);
        next.folder += text("-", plain(axis.key.substr(axis.key.rfind('.') + 1)), "=", plain(value));
        longer.push_back(std::move(next));
      }
    }
    points = std::move(longer);
    if (points.size() > kMostCells) fail_at(place, text("the grid has more than ", kMostCells, " points"));
  }
  return points;
}

/// Makes the cells of a sweep whose file is already checked.
class Composer {
 public:
  Composer(const SweepOptions& options, const Value& document, const std::vector<std::string>& overrides,
           const std::function<const ComponentCatalog&(const Value&)>& catalog_of)
      : options_(options), document_(document), overrides_(overrides), catalog_of_(catalog_of) {
    base_ = Value(Value::Table{});
    const Value::Array& files = document.find("base")->as_array();
    for (const Value& file : files) merge_file(base_, file);
    apply_override_lines(base_, lines_of(document));
  }

  SweepCell cell(std::size_t arm, const GridPoint& point, std::size_t index, std::int64_t seed,
                 const fs::path& folder) const {
    const Value& table = document_.find(kArms)->as_array()[arm];
    SweepCell result;
    result.name = text(options_.arms[arm].name, point.folder, "-s", seed);
    result.point = index;
    result.seed = seed;
    Value experiment = base_;
    if (const Value* include = table.find("include")) {
      for (const Value& file : include->as_array()) merge_file(experiment, file);
    }
    apply_override_lines(experiment, lines_of(table));
    apply_override_lines(experiment, point.lines);
    apply_overrides(experiment, overrides_);
    set_run(experiment, result, folder);
    result.experiment = resolved(experiment, options_.arms[arm].name, table.location());
    return result;
  }

 private:
  static Value::Array lines_of(const Value& table) {
    const Value* lines = table.find("set");
    return lines == nullptr ? Value::Array{} : lines->as_array();
  }

  void merge_file(Value& experiment, const Value& file) const {
    const fs::path path = absolute_path(file);
    std::error_code ignored;
    if (!fs::exists(path, ignored)) {
      const std::string near = near_path(path, ".toml");
      fail_at(file.location(),
              text("there is no ", path.string(), near.empty() ? "" : text("; did you mean '", near, "'?")));
    }
    merge(experiment, load_document(shorter(path)), &host_schema());
  }

  static void set_run(Value& experiment, const SweepCell& cell, const fs::path& folder) {
    Value run = experiment.find("run") == nullptr ? Value(Value::Table{}) : *experiment.find("run");
    if (!run.is_table()) return;  // resolve() reports it
    run.set("name", cell.name);
    run.set("seed", cell.seed);
    run.set("directory", folder.string());
    experiment.set("run", std::move(run));
  }

  Value resolved(const Value& experiment, const std::string& arm, const Location& place) const {
    try {
      return checked_experiment(experiment, schema_of<Experiment>(), catalog_of_(experiment));
    } catch (const ConfigError& error) {
      throw ConfigError(text("the arm '", arm, "' (", to_string(place), ") cannot be composed: ", error.what()));
    }
  }

  const SweepOptions& options_;
  const Value& document_;
  const std::vector<std::string>& overrides_;
  const std::function<const ComponentCatalog&(const Value&)>& catalog_of_;
  Value base_;
};

/// Adds a problem at `place` if `override` sets what the sweep sets in every run, and returns whether it does.
bool refuse_own_key(const std::string& override, const Location& place, Problems& problems) {
  for (const auto& [key, instead] : {std::pair{"run.name", "the arm's `name`"},
                                     {"run.seed", "`seeds` in the sweep file"},
                                     {"run.directory", "`directory` in the sweep file"}}) {
    if (!sets(override, key, place)) continue;
    problems.add(place, text("it sets ", key, ", which a sweep sets in every run; give ", instead, " instead"));
    return true;
  }
  return false;
}

void refuse_own_keys(const SweepOptions& options, const Value& document, const std::vector<std::string>& overrides,
                     Problems& problems) {
  const auto each_line = [&](const Value& table) {
    const Value* lines = table.find("set");
    if (lines == nullptr) return;
    for (const Value& line : lines->as_array()) refuse_own_key(line.as_string(), line.location(), problems);
  };
  each_line(document);
  for (const Value& arm : document.find(kArms)->as_array()) each_line(arm);
  for (std::size_t i = 0; i < options.grid.size(); ++i) {
    const auto& [key, values] = options.grid[i];
    const Location& place = document.find("grid")->as_array()[i].find("key")->location();
    for (const std::string& value : values) {
      if (refuse_own_key(text(key, "=", value), place, problems)) break;
    }
  }
  for (const std::string& override : overrides) refuse_own_key(override, override_location(override), problems);
}

/// Adds a problem for each key that an arm and the grid or two parts of the grid set, and each value given twice.
void refuse_set_twice(const SweepOptions& options, const Value& document, Problems& problems) {
  for (std::size_t i = 0; i < options.grid.size(); ++i) {
    const auto& [key, values] = options.grid[i];
    const Value& axis = document.find("grid")->as_array()[i];
    for (const Value& arm : document.find(kArms)->as_array()) {
      const Value* lines = arm.find("set");
      if (lines == nullptr) continue;
      for (const Value& line : lines->as_array()) {
        if (!sets(line.as_string(), key, line.location())) continue;
        problems.add(line.location(), text("the arm '", arm.find("name")->as_string(), "' and [[grid]] both set ", key,
                                           "; give it in one of them"));
      }
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (options.grid[j].key != key) continue;
      problems.add(axis.find("key")->location(), text("[[grid]] has ", key, " twice; give all its values in one"));
    }
    std::set<std::string> known;
    for (const std::string& value : values) {
      if (known.insert(value).second) continue;
      problems.add(axis.find("values")->location(), text("the value ", quoted(value), " of ", key, " is given twice"));
    }
  }
}

/// Checks what the schema of a sweep file cannot express.
void check(const SweepOptions& options, const Value& document, const std::vector<std::string>& overrides) {
  Problems problems;
  const auto add = [&](const std::string& key, const std::string& message) {
    problems.add(location_of(find_path(document, key), document), message);
  };
  if (options.base.empty()) add("base", "expected at least one experiment file");
  if (options.seeds.empty()) add("seeds", "expected at least one seed");
  if (options.arms.empty()) add(kArms, "expected at least one arm");
  refuse_own_keys(options, document, overrides, problems);
  refuse_set_twice(options, document, problems);
  std::set<std::int64_t> seeds;
  for (const std::int64_t seed : options.seeds) {
    if (!seeds.insert(seed).second) add("seeds", text("the seed ", seed, " is given twice"));
  }
  std::vector<std::string> names;
  for (std::size_t i = 0; i < options.arms.size(); ++i) {
    const std::string& name = options.arms[i].name;
    if (std::find(names.begin(), names.end(), name) != names.end()) {
      add(text(kArms, ".", i, ".name"), text("two arms have the name ", quoted(name), "; give each its own"));
    }
    names.push_back(name);
  }
  if (!options.baseline.empty() && std::find(names.begin(), names.end(), options.baseline) == names.end()) {
    const std::vector<std::string> near = nearest(options.baseline, names, 1);
    add("baseline", text("no arm has the name ", quoted(options.baseline),
                         near.empty() ? text("; expected one of ", join(names, ", "))
                                      : text("; did you mean ", quoted(near.front()), "?")));
  }
  problems.finish();
}

/// Throws ConfigError if two arms at one point of the grid have the same experiment.
void check_differences(const Sweep& sweep, const SweepOptions& options, const Value& document) {
  std::vector<const SweepCell*> first(sweep.points.size(), nullptr);
  for (const SweepCell& cell : sweep.cells) {
    if (first[cell.point] == nullptr) first[cell.point] = &cell;
  }
  for (std::size_t i = 0; i < first.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (!changes(experiment_of(first[j]->experiment), experiment_of(first[i]->experiment)).empty()) continue;
      const std::size_t arm = i % options.arms.size();
      fail_at(document.find(kArms)->as_array()[arm].location(),
              text("'", sweep.points[i].name, "' and '", sweep.points[j].name,
                   "' are the same experiment; change one of them or leave it out"));
    }
  }
}

/// `schema` of an array, extended to allow a single string.
void allow_string(Value& properties, const char* key) {
  Value& array = *properties.find(key);
  Value string{Value::Table{{"type", "string"}}};
  Value result{Value::Table{}};
  for (const char* key : {"description", "default"}) {
    if (const Value* value = array.find(key)) result.set(key, *value);
  }
  result.set("anyOf", Value::Array{std::move(string), array});
  array = std::move(result);
}

Value& properties_of(Value& schema) { return *schema.find("properties"); }

}  // namespace

Value sweep_json_schema(const ComponentCatalog& catalog) {
  Value schema = json_schema(schema_of<SweepOptions>(), catalog, SchemaOf::whole, "casdm sweep");
  Value& properties = properties_of(schema);
  for (const char* key : {"base", "set"}) allow_string(properties, key);
  Value& arm = properties_of(*properties.find(kArms)->find("items"));
  for (const char* key : {"include", "set"}) allow_string(arm, key);
  // Anything that may stand to the right of `=` in --set.
  properties_of(*properties.find("grid")->find("items")).find("values")->set("items", Value::Table{});
  return schema;
}

bool is_sweep(const Value& document) { return document.find(kArms) != nullptr; }

Sweep load_sweep(const fs::path& file, const std::vector<std::string>& overrides,
                 const std::function<const ComponentCatalog&(const Value&)>& catalog_of) {
  const fs::path path = file.lexically_normal();
  Value document = load_document(path);
  if (!is_sweep(document)) {
    throw ConfigError(
        text(file.string(), " is not a sweep: it has no [[arms]]. For an experiment: casdm train ", file.string()));
  }
  loosen(document);
  const Value resolved =
      resolve_named(document, schema_of<SweepOptions>(), catalog_of(Value(Value::Table{})), "a sweep");
  const auto options = read_options<SweepOptions>(resolved);
  check(options, document, overrides);
  if (options.evaluate) check_evaluation(*options.evaluate, file, document);

  Sweep sweep;
  sweep.file = file;
  sweep.name = options.name;
  sweep.folder = fs::path(options.directory) / options.name;
  sweep.evaluate = options.evaluate;
  const std::vector<GridPoint> grid = grid_points(options, document);
  const std::size_t arms = options.arms.size();
  if (grid.size() * arms * options.seeds.size() > kMostCells) {
    throw ConfigError(text(file.string(), ": the sweep has ", grid.size() * arms * options.seeds.size(),
                           " runs; expected at most ", kMostCells));
  }
  std::size_t baseline = 0;
  for (std::size_t arm = 0; arm < arms; ++arm) {
    if (options.arms[arm].name == options.baseline) baseline = arm;
  }
  for (const GridPoint& point : grid) {
    const std::size_t begin = sweep.points.size();
    for (const SweepArm& arm : options.arms) sweep.points.push_back({arm.name + point.name, begin + baseline});
  }
  const Composer composer(options, document, overrides, catalog_of);
  std::set<std::string> names;
  for (const std::int64_t seed : options.seeds) {
    for (std::size_t i = 0; i < sweep.points.size(); ++i) {
      SweepCell cell = composer.cell(i % arms, grid[i / arms], i, seed, sweep.folder);
      if (!names.insert(cell.name).second) {
        throw ConfigError(text(file.string(), ": two runs would have the folder ", cell.name,
                               "; rename an arm, or write the values of the grid so that their names differ"));
      }
      sweep.cells.push_back(std::move(cell));
    }
  }
  check_differences(sweep, options, document);
  check_evaluated_arms(sweep, document, catalog_of);
  return sweep;
}

}  // namespace casdm
