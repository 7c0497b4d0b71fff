#pragma once

#include <functional>
#include <string>
#include <vector>

namespace casdm {

/// Each command takes the arguments after its name and returns the exit status. It throws ConfigError for wrong use
/// (exit 2) and other exceptions for failures (exit 1); `main` prints both.
int config_command(const std::vector<std::string>& arguments);
int plugins_command(const std::vector<std::string>& arguments);
int quickstart_command(const std::vector<std::string>& arguments);
int compare_command(const std::vector<std::string>& arguments);
int report_command(const std::vector<std::string>& arguments);
int docs_command(const std::vector<std::string>& arguments);
int sweep_command(const std::vector<std::string>& arguments);

/// A command as `casdm --help` lists it: "config" with "check", "show", ...
struct CommandName {
  std::string name;
  std::vector<std::string> verbs;
};

/// @param print_help  prints the text that `casdm COMMAND --help` says, also of a COMMAND with a verb; of an empty one,
///                    that of `casdm --help`
int completion_command(const std::vector<std::string>& arguments, const std::vector<CommandName>& commands,
                       const std::function<void(const std::vector<std::string>&)>& print_help);

}  // namespace casdm

extern "C" {

/// The commands that compute, in libcasdm_framework.so. They print their error messages and return the program's exit
/// status.
int casdm_data_command(const std::vector<std::string>& arguments);
int casdm_cost_command(const std::vector<std::string>& arguments);
int casdm_train_command(const std::vector<std::string>& arguments);
int casdm_evaluate_command(const std::vector<std::string>& arguments);
int casdm_sample_command(const std::vector<std::string>& arguments);
int casdm_export_command(const std::vector<std::string>& arguments);
int casdm_import_command(const std::vector<std::string>& arguments);
int casdm_ema_command(const std::vector<std::string>& arguments);
int casdm_plugins_check_command(const std::vector<std::string>& arguments);
int casdm_plugins_doctor_command(const std::vector<std::string>& arguments);
}
