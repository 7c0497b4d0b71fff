#include "framework/report/report.h"

#include <algorithm>
#include <map>
#include <set>

#include "casdm/text.h"
#include "framework/comparison/evaluations.h"
#include "framework/comparison/sweep_folder.h"
#include "framework/comparison/tables.h"
#include "framework/config/document.h"
#include "framework/config/key_path.h"
#include "framework/report/html.h"
#include "framework/report/log_curves.h"
#include "framework/report/neighbours.h"
#include "framework/report/sample_grids.h"
#include "framework/report/written_page.h"
#include "framework/support/number_format.h"
#include "framework/training/experiment_change.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

/// What the page shows: arms of runs, possibly one arm with one run.
struct Subject {
  Comparison comparison;
  bool is_sweep = false;

  bool is_single() const { return comparison.arms.size() == 1 && comparison.arms.front().runs.size() == 1; }
};

Subject subject_of(const fs::path& folder) {
  if (is_sweep_folder(folder)) return {read_sweep(folder), true};
  Subject subject{compare_runs({folder}, ""), false};
  ComparedRun& run = subject.comparison.arms.front().runs.front();
  subject.comparison.title = fs::absolute(run.path).lexically_normal().filename().string();
  if (const Value* name = find_path(run.record.config, "run.name")) subject.comparison.title = name->as_string();
  subject.comparison.arms.front().name = subject.comparison.title;
  run.problem.clear();  // the numbers of an unfinished run are shown, too
  return subject;
}

using Facts = std::vector<std::pair<std::string, std::string>>;

std::string list_of(const Facts& facts) {
  std::string result = "<dl class=\"facts\">";
  for (const auto& [name, value] : facts) {
    if (!value.empty()) result += text("<dt>", html(name), "</dt><dd>", html(value), "</dd>");
  }
  return result + "</dl>\n";
}

std::string section(const std::string& id, const std::string& title, const std::string& content) {
  return text("<section id=\"", id, "\"><h2>", html(title), "</h2>\n", content, "</section>\n");
}

std::string bullets(const std::vector<std::string>& lines) {
  std::string result = "<ul>";
  for (const std::string& line : lines) result += text("<li>", html(line), "</li>");
  return lines.empty() ? "" : result + "</ul>\n";
}

std::string value_of(const Measure& measure) {
  const std::string error =
      measure.standard_error ? text(" (standard error ", significant(*measure.standard_error), ")") : "";
  return significant(measure.value) + error;
}

/// What a number of the log is.
std::string origin_in_log(const std::string& measure) {
  if (measure == "seconds") return "in the log: total up to the last line";
  const bool is_of_steps = measure.starts_with("loss.") && measure.find(".grad_norm.") != std::string::npos;
  return is_of_steps ? "in the log: mean over the steps since the previous line at which it was taken"
                     : "in the log: mean since the previous line";
}

/// The final numbers: with differences if there are several arms, alone for one run.
std::string results(const Subject& subject, const std::vector<MeasureSummary>& measures) {
  HtmlTable table;
  if (subject.is_single()) {
    table = {"Numbers at the end of training", {"measure", "value", "better", "how it was measured"}, {}};
    for (const Measure& measure : subject.comparison.arms.front().runs.front().record.measures) {
      if (measure.name.find(".by_t.") != std::string::npos) continue;
      table.rows.push_back({html(measure.name), html(value_of(measure)), to_string(measure.better),
                            html(measure.about.empty() ? origin_in_log(measure.name) : measure.about)});
    }
    return to_html(table);
  }
  const TableRows rows = table_rows(subject.comparison, measures);
  table.caption = "Means over seeds and paired differences, with intervals of 95 %";
  for (const std::string& cell : rows.header) table.header.push_back(html(cell));
  for (const TableRows::Row& row : rows.rows) {
    std::vector<std::string> cells;
    for (const std::string& cell : row.cells) cells.push_back(html(cell));
    if (row.is_best) cells[3] = text("<strong>", cells[3], "</strong>");
    table.rows.push_back(std::move(cells));
  }
  return to_html(table) + bullets(findings(subject.comparison, measures)) +
         "<p>Bold is the best, where the interval of its difference to the baseline excludes 0. Differences are taken "
         "at equal seeds. Of 20 intervals without any effect one excludes 0 by chance.</p>\n";
}

/// The scores of checkpoints other than the last one of each run, which are not part of the comparison.
std::string other_checkpoints(const Subject& subject) {
  HtmlTable table{
      "Evaluations of other checkpoints", {"run", "images", "score", "value", "better", "how it was measured"}, {}};
  for (const ComparedArm& arm : subject.comparison.arms) {
    for (const ComparedRun& run : arm.runs) {
      for (const auto& [images, measures] : other_evaluations(run.path, run.record)) {
        for (const Measure& measure : measures) {
          table.rows.push_back({html(run.path.filename().string()), std::to_string(images), html(measure.name),
                                html(value_of(measure)), to_string(measure.better), html(measure.about)});
        }
      }
    }
  }
  return table.rows.empty() ? "" : to_html(table);
}

/// The scores that a perfect model would get; nothing if they were never measured.
std::string floors(const Subject& subject) {
  HtmlTable table{"Real images against real ones: the floor", {"score", "value", "N", "reference", "which images"}, {}};
  std::set<std::vector<std::string>> rows;  // the runs of a sweep have the same floor
  for (const ComparedArm& arm : subject.comparison.arms) {
    for (const ComparedRun& run : arm.runs) {
      for (const Value& record : kept_records(run.path, "floor")) {
        const Value* scores = record.find("scores");
        if (scores == nullptr || !scores->is_array()) continue;
        for (const Value& score : scores->as_array()) {
          const auto cell = [&score](const char* key) {
            const Value* value = score.find(key);
            if (value == nullptr || value->is_null()) return std::string();
            if (value->is_string()) return html(value->as_string());
            if (value->is_integer()) return std::to_string(value->as_integer());
            return value->is_number() ? html(significant(value->as_number())) : std::string();
          };
          const Value* name = record.find("name");
          const std::string error = cell("standard_error");
          rows.insert({cell("name"), cell("value") + (error.empty() ? "" : " (standard error " + error + ")"),
                       cell("num"), cell("reference_num"),
                       name != nullptr && name->is_string() ? html(name->as_string()) : ""});
        }
      }
    }
  }
  table.rows.assign(rows.begin(), rows.end());
  return rows.empty() ? "" : to_html(table);
}

std::string plots_html(const std::vector<Plot>& plots) {
  std::string result = "<div class=\"plots\">\n";
  for (std::size_t i = 0; i < plots.size(); ++i) result += to_html(plots[i], text("plot-", i));
  return plots.empty() ? "<p>The log has no line yet.</p>\n" : result + "</div>\n";
}

std::string curves(const Subject& subject) {
  if (subject.is_single()) {
    return plots_html(plots_of_run(read_run_log(subject.comparison.arms.front().runs.front().path)));
  }
  std::vector<std::string> names, left_out, incomplete;
  std::vector<std::vector<RunLog>> logs;
  for (const ComparedArm& arm : subject.comparison.arms) {
    names.push_back(arm.name);
    logs.emplace_back();
    for (const ComparedRun& run : arm.runs) {
      if (!run.problem.empty() && arm.successes() > 0) {
        left_out.push_back(text(arm.name, ", seed ", run.seed));
      } else {
        logs.back().push_back(read_run_log(run.path));
      }
    }
    std::erase_if(logs.back(), [](const RunLog& log) { return log.names.empty(); });
    if (arm.successes() == 0 && !logs.back().empty()) incomplete.push_back(arm.name);
  }
  const auto note = [](const char* what, const std::vector<std::string>& which) {
    return which.empty() ? "" : text("<p>", what, html(join(which, "; ")), ".</p>\n");
  };
  return note("Left out, since they are not complete: ", left_out) +
         note("Shown up to the point that all runs begun so far have reached: ", incomplete) +
         plots_html(plots_of_arms(names, logs));
}

std::string cell_of(const Value& value) {
  return value.is_null() ? "not set" : text("<code>", html(in_few_words(value)), "</code>");
}

/// Whether `key` belongs to a component whose type changed: "head.theta.channels" if "head" did.
bool is_of_other(const std::string& key, const std::vector<ExperimentChange>& found) {
  return std::any_of(found.begin(), found.end(),
                     [&](const ExperimentChange& change) { return key.starts_with(change.key + "."); });
}

/// The keys in which arms differ from the first baseline, with a column for each arm.
std::string difference_table(const Comparison& comparison) {
  const Value& base = comparison.arms[comparison.arms.front().baseline].experiment;
  HtmlTable table{"Keys in which the arms differ", {"key"}, {}};
  std::map<std::string, std::map<std::size_t, Value>> by_key;
  std::map<std::string, Value> of_base;
  std::vector<std::vector<ExperimentChange>> all(comparison.arms.size());
  for (std::size_t i = 0; i < comparison.arms.size(); ++i) {
    const ComparedArm& arm = comparison.arms[i];
    table.header.push_back(html(arm.name + (arm.baseline == i ? " (baseline)" : "")));
    if (base.is_null() || arm.experiment.is_null()) continue;
    all[i] = by_component(changes(base, arm.experiment));
    for (const ExperimentChange& change : all[i]) {
      by_key[change.key][i] = change.after;
      of_base[change.key] = change.before;
    }
  }
  for (const auto& [key, values] : by_key) {
    std::vector<std::string> cells{text("<code>", html(key), "</code>")};
    for (std::size_t i = 0; i < comparison.arms.size(); ++i) {
      const auto value = values.find(i);
      cells.push_back(comparison.arms[i].experiment.is_null() ? "no run yet"
                      : is_of_other(key, all[i])              ? ""
                                                 : cell_of(value == values.end() ? of_base[key] : value->second));
    }
    table.rows.push_back(std::move(cells));
  }
  return table.rows.empty() ? "" : to_html(table);
}

/// What runs were trained with before a resume has changed it.
std::string changes_at_resumes(const Subject& subject) {
  HtmlTable table{"What changed when runs were resumed", {"run", "at images", "key", "before", "from then on"}, {}};
  for (const ComparedArm& arm : subject.comparison.arms) {
    for (const ComparedRun& run : arm.runs) {
      const std::string name = html(fs::absolute(run.path).lexically_normal().filename().string());
      for (const ResumeRecord& resume : run.record.provenance.resumes) {
        const std::string images = std::to_string(resume.images);
        for (const ExperimentChange& change : by_component(resume.changed)) {
          table.rows.push_back({name, images, text("<code>", html(change.key), "</code>"), cell_of(change.before),
                                cell_of(change.after)});
        }
        for (const std::string& said : resume.replaced) table.rows.push_back({name, images, "", "", html(said)});
      }
    }
  }
  return table.rows.empty() ? "" : to_html(table);
}

std::string experiment(const Subject& subject) {
  std::string result = subject.is_single() ? "" : difference_table(subject.comparison);
  result += changes_at_resumes(subject);
  for (std::size_t i = 0; i < subject.comparison.arms.size(); ++i) {
    const ComparedArm& arm = subject.comparison.arms[i];
    if (arm.experiment.is_null()) continue;
    const bool is_base = arm.baseline == i;
    const Value& config = arm.runs.front().record.config;
    if (!is_base && !config.is_null()) continue;
    result += text("<details><summary>The whole experiment", subject.is_single() ? "" : " of " + html(arm.name),
                   ", with all defaults</summary><pre>", html(to_toml(config.is_null() ? arm.experiment : config)),
                   "</pre></details>\n");
  }
  return result;
}

std::string joined_values(const std::set<std::string>& values) { return join({values.begin(), values.end()}, "; "); }

/// Which programs and machines made the runs, and how long it took.
std::string making(const Subject& subject) {
  std::set<std::string> libtorch, plugins, devices, precisions, machines, threads;
  double seconds = 0;
  std::int64_t images = 0;
  std::string newest;
  for (const ComparedArm& arm : subject.comparison.arms) {
    for (const ComparedRun& run : arm.runs) {
      seconds += run.record.seconds;
      images += run.record.images;
      const Value state = newest_state(run.path);
      const auto add = [](std::set<std::string>& values, const Value* value) {
        if (value != nullptr && !value->is_null())
          values.insert(value->is_string() ? value->as_string() : to_json(*value));
      };
      add(libtorch, state.find("libtorch"));
      add(devices, find_path(run.record.config, "run.device"));
      add(precisions, find_path(run.record.config, "run.precision"));
      add(machines, state.find("machine"));
      if (const Measure* count = run.record.find("threads")) threads.insert(number(count->value));
      const Value* used = find_path(run.record.config, "plugins.used");
      if (used == nullptr || !used->is_array()) continue;
      for (const Value& plugin : used->as_array()) {
        const auto word = [&](const char* key) {
          const Value* value = plugin.find(key);
          return value != nullptr && value->is_string() ? value->as_string() : std::string();
        };
        plugins.insert(text(word("id"), " ", word("version"), " (", word("build_id").substr(0, 12), ")"));
      }
    }
  }
  return list_of(
      {{"machine", joined_values(machines)},
       {"run.device", joined_values(devices)},
       {"run.precision", joined_values(precisions)},
       {"LibTorch", joined_values(libtorch)},
       {"plugins", joined_values(plugins)},
       {"training time", seconds > 0 ? duration(seconds) + (subject.is_single() ? "" : ", all runs together") : ""},
       {"images seen", short_count(static_cast<double>(images))}});
}

std::string introduction(const Subject& subject) {
  const Comparison& comparison = subject.comparison;
  if (subject.is_single()) {
    const RunRecord& run = comparison.arms.front().runs.front().record;
    return list_of({{"run", fs::absolute(run.path).lexically_normal().string()},
                    {"seed", std::to_string(run.seed)},
                    {"images", text(short_count(static_cast<double>(run.images)), " of ",
                                    short_count(static_cast<double>(run.total_images)))}});
  }
  std::size_t runs = 0, successes = 0;
  std::set<std::string> baselines;
  for (const ComparedArm& arm : comparison.arms) {
    runs += arm.runs.size();
    successes += arm.successes();
    baselines.insert(comparison.arms[arm.baseline].name);
  }
  return list_of({{"arms", std::to_string(comparison.arms.size())},
                  {"runs", text(successes, " of ", runs, " complete")},
                  {"baseline", join({baselines.begin(), baselines.end()}, ", ")}});
}

/// What no other run has: times of the first line of the log.
std::string beginning(const Comparison& comparison) {
  for (const ComparedArm& arm : comparison.arms) {
    for (const ComparedRun& run : arm.runs) {
      std::string first;
      read_log(run.path, [&](const Value& line) {
        if (first.empty()) first = to_json(line);
      });
      return sha256(first);
    }
  }
  return "";
}

}  // namespace

std::string report_of(const fs::path& folder) {
  const Subject subject = subject_of(folder);
  const std::vector<MeasureSummary> all = summarise(subject.comparison);
  const std::string samples = sample_grids(subject.comparison);
  const std::string nearest = neighbours(subject.comparison);
  std::string body =
      text("<header><p>", subject.is_sweep ? "Sweep" : "Run", "</p><h1>", html(subject.comparison.title), "</h1>\n",
           introduction(subject), "<nav aria-label=\"Sections\"><ul><li><a href=\"#results\">Results</a></li>",
           samples.empty() ? "" : "<li><a href=\"#samples\">Samples</a></li>",
           nearest.empty() ? "" : "<li><a href=\"#nearest\">Nearest images</a></li>",
           "<li><a href=\"#curves\">Curves</a></li><li><a href=\"#experiment\">Experiment</a></li>",
           "<li><a href=\"#making\">Machine and versions</a></li></ul></nav></header>\n<main>\n");
  const std::vector<MeasureSummary> shown = chosen_measures(all, {});
  body += section("results", "Results",
                  results(subject, shown) + other_checkpoints(subject) + floors(subject) +
                      bullets(subject.is_single() ? subject.comparison.arms.front().runs.front().record.warnings
                                                  : remarks(subject.comparison, shown)));
  if (!samples.empty()) body += section("samples", "Samples", samples);
  if (!nearest.empty()) body += section("nearest", "Nearest images of the data", nearest);
  body += section("curves", "Curves", curves(subject));
  body += section("experiment", subject.is_single() ? "Experiment" : "Arms", experiment(subject));
  body += section("making", "Machine and versions", making(subject));
  body += text("</main>\n<footer>", origin_line(fs::absolute(folder).lexically_normal(), beginning(subject.comparison)),
               "</footer>\n");
  return with_digest(html_page(text(subject.comparison.title, " - casdm report"), body));
}

}  // namespace casdm
