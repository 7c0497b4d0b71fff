#include <fcntl.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <new>
#include <sstream>

#include "casdm/build_info.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/commands/commands.h"
#include "framework/distributed/process_place.h"
#include "framework/loading/crash_message.h"
#include "framework/loading/discovery.h"
#include "framework/loading/framework_library.h"
#include "framework/loading/trusted_path.h"
#include "framework/reporting/progress.h"
#include "framework/support/printable_stream.h"

namespace {

constexpr const char* kHelp = R"(casdm - metric functions in diffusion training, by plugins

usage: casdm COMMAND [ARGUMENT]...

  quickstart              train a small experiment that comes with casdm, draw from it and judge it
  train CONFIG            train the experiment of a TOML file; --resume RUN continues a run
  sample RUN              draw images from a trained run
  evaluate RUN|IMAGES     judge a run, or images, against real ones
  sweep SWEEP             train several arms of an experiment with several seeds, and compare them
  compare RUN RUN...      say which of several runs did better, by how much, and how certain that is
  report RUN|SWEEP        write one HTML page about a run or a sweep
  ema RUN                 make another average of a run's weights after training
  import FILE             read weights of other programs: PyTorch's .pt files, safetensors, folders
  export RUN              write a network's weights for other programs
  config check|show|init|schema|reference
                          validate an experiment, show it resolved, start a new one
  data inspect|pack       look through an experiment's images; write them as a zip archive
  plugins list|inspect|paths|check|new|lock|doctor
                          what plugins are found and offer; test one; start a new one;
                          pin the files an experiment uses; diagnose problems

  docs                    show the documentation in a browser
  completion bash|zsh|fish
                          print a script that completes commands, options and keys

  --safe-mode             with any command: use only the plugins installed with casdm
  --trust-plugins         with any command: allow the plugins in [plugins] paths of the experiment or run;
                          remembered for these files until they change
  --progress STYLE        with any command: auto, bar, lines, json (an object a line, on stderr) or none
  --version               print the version

`casdm COMMAND --help` describes each command. Results go to stdout, everything else to stderr.
Exit status: 0 done, 1 failed at run time, 2 wrong use or configuration.
)";

/// The commands and verbs of kHelp.
std::vector<casdm::CommandName> command_names() {
  std::vector<casdm::CommandName> names;
  std::istringstream lines(kHelp);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream arguments(line);
    casdm::CommandName command;
    std::string verb, all;
    if (!line.starts_with("  ") || line[2] == ' ' || line[2] == '-' || !(arguments >> command.name >> all)) continue;
    const bool has_verbs = all.find('|') != std::string::npos && std::islower(static_cast<unsigned char>(all[0])) != 0;
    std::istringstream verbs(has_verbs ? all : "");
    while (std::getline(verbs, verb, '|')) command.verbs.push_back(verb);
    names.push_back(command);
  }
  return names;
}

/// A sweep would run in every process of a launcher, on the same files, so it is refused; the first process prints why.
int sweep_alone(const std::vector<std::string>& arguments) {
  const casdm::ProcessPlace place = casdm::process_place();
  if (place.size == 1) return casdm::sweep_command(arguments);
  if (place.rank > 0) return 2;
  throw casdm::ConfigError(casdm::text("`casdm sweep` runs as one process, but a launcher has started ", place.size,
                                       "; start it without the launcher, and with --processes ", place.size,
                                       " to have as many share each run"));
}

int run(const std::vector<std::string>& arguments);

int dispatch(const std::string& command, const std::vector<std::string>& arguments) {
  const std::map<std::string, std::function<int()>> commands = {
      {"quickstart", [&] { return casdm::quickstart_command(arguments); }},
      {"train", [&] { return casdm::run_in_framework("casdm_train_command", arguments); }},
      {"sample", [&] { return casdm::run_in_framework("casdm_sample_command", arguments); }},
      {"evaluate", [&] { return casdm::run_in_framework("casdm_evaluate_command", arguments); }},
      {"import", [&] { return casdm::run_in_framework("casdm_import_command", arguments); }},
      {"export", [&] { return casdm::run_in_framework("casdm_export_command", arguments); }},
      {"ema", [&] { return casdm::run_in_framework("casdm_ema_command", arguments); }},
      {"sweep", [&] { return sweep_alone(arguments); }},
      {"compare", [&] { return casdm::compare_command(arguments); }},
      {"report", [&] { return casdm::report_command(arguments); }},
      {"data", [&] { return casdm::run_in_framework("casdm_data_command", arguments); }},
      {"config", [&] { return casdm::config_command(arguments); }},
      {"plugins", [&] { return casdm::plugins_command(arguments); }},
      {"docs", [&] { return casdm::docs_command(arguments); }},
      {"completion",
       [&] {
         return casdm::completion_command(arguments, command_names(), [](std::vector<std::string> words) {
           words.emplace_back("--help");
           run(words);
         });
       }},
  };
  const auto found = commands.find(command);
  if (found != commands.end()) return found->second();
  std::vector<std::string> names;
  names.reserve(commands.size());
  for (const auto& [name, run] : commands) names.push_back(name);
  for (const char* option : {"--help", "--version", "--progress", "--safe-mode", "--trust-plugins"})
    names.emplace_back(option);
  const std::vector<std::string> near = casdm::nearest(command, names, 1);
  const std::string hint = near.empty() ? ";" : "; did you mean '" + near[0] + "'?";
  throw casdm::ConfigError(
      casdm::text("there is no command ", casdm::quoted(command), hint, " `casdm --help` lists them"));
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h" || arguments[0] == "help") {
    std::cout << kHelp;
    return arguments.empty() ? 2 : 0;
  }
  if (arguments[0] == "--version") {
    std::cout << "casdm " CASDM_SDK_VERSION "\n";
    return 0;
  }
  return dispatch(arguments[0], {arguments.begin() + 1, arguments.end()});
}

/// Throws Error if output written to stdout was lost, as on a full disk.
void finish_output() {
  errno = 0;
  std::cout.flush();
  if (std::cout && std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return;
  throw casdm::Error(
      casdm::text("the output cannot be written to stdout: ", errno != 0 ? std::strerror(errno) : "is the disk full?"));
}

/// Takes `--progress STYLE` and `--progress=STYLE` out of the arguments.
void take_progress(std::vector<std::string>& arguments) {
  constexpr std::string_view kOption = "--progress";
  for (auto at = arguments.begin(); at != arguments.end() && *at != "--";) {
    const bool is_joined = at->starts_with(casdm::text(kOption, "="));
    if (!is_joined && *at != kOption) {
      ++at;
      continue;
    }
    if (!is_joined && at + 1 == arguments.end()) throw casdm::ConfigError("--progress needs a style: `casdm --help`");
    const std::string style = is_joined ? at->substr(kOption.size() + 1) : *(at + 1);
    casdm::progress_style(style);
    ::setenv(casdm::kProgress, style.c_str(), 1);
    at = arguments.erase(at, at + (is_joined ? 1 : 2));
  }
}

/// Of the standard streams, those that are closed are opened for the wrong direction: using them still fails, and no
/// other file gets their number, and with it what is printed.
void occupy_closed_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) < 0) ::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

int report(const std::exception& error, int status) {
  const std::string message = error.what();
  std::cerr << "casdm: " << message.substr(0, message.find_last_not_of(" \n") + 1) << '\n';
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGCHLD, SIG_DFL);  // ignored, as a parent may have left it, no child's status could be read
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is reported like a full disk
  occupy_closed_streams();
  std::vector<std::string> arguments(argv + 1, argv + argc);
  if (std::erase(arguments, "--safe-mode") > 0) ::setenv(casdm::kSafeMode, "1", 1);
  if (std::erase(arguments, "--trust-plugins") > 0) ::setenv(casdm::kTrustPlugins, "1", 1);
  casdm::explain_crashes();
  const casdm::PrintableStream printable_errors(std::cerr);
  try {
    take_progress(arguments);
    static_cast<void>(std::filesystem::current_path());  // throws if it was removed; LibTorch would end the process
    const int status = run(arguments);
    finish_output();
    return status;
  } catch (const casdm::ConfigError& error) {
    return report(error, 2);
  } catch (const std::filesystem::filesystem_error& error) {
    const std::string path = error.path1().empty() ? "the working directory" : error.path1().string();
    std::error_code without_folder;
    static_cast<void>(std::filesystem::current_path(without_folder));
    const bool is_gone = error.path1().empty() && without_folder == std::errc::no_such_file_or_directory;
    return report(
        casdm::Error(path + (is_gone ? " was removed; change to another one" : ": " + error.code().message())), 1);
  } catch (const std::bad_alloc&) {
    return report(casdm::Error("out of memory"), 1);
  } catch (const std::exception& error) {
    return report(error, 1);
  }
}
