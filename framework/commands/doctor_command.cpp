#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/commands/arguments.h"
#include "framework/commands/commands.h"
#include "framework/config/document.h"
#include "framework/device/device.h"
#include "framework/loading/libtorch.h"
#include "framework/loading/load_record.h"
#include "framework/loading/lock.h"
#include "framework/loading/plugin_host.h"
#include "framework/loading/stamp.h"

namespace casdm {

namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

constexpr const char* kDoctorUsage = R"(usage: casdm plugins doctor [--config FILE] [--json]
       casdm plugins doctor --forget-crashes

Looks for anything that keeps plugins from working: the LibTorch that is actually loaded, the
device, the search path, and every plugin found there: trust, note, stamp, required libraries, and
whether it loads, which is tried in a child process. Exit status 1 when there is a problem.

A plugin that crashed is not used until it is rebuilt; --forget-crashes tries it again.

  casdm plugins doctor
  casdm plugins doctor --plugin build/metric_mine.so
)";

enum class Grade { ok, warning, bad };

constexpr std::string_view kGradeNames[] = {"ok", "warning", "bad"};

struct Finding {
  Grade grade;
  std::string subject;
  std::string message;
};

Finding examine_libtorch() {
  const LoadedLibTorch loaded = loaded_libtorch();
  std::string ours;
  for (const auto& [field, value] : parse_stamp(host_stamp())) {
    if (field == "libtorch") ours = value;
  }
  return {Grade::ok, "LibTorch", text(loaded.version, " from ", loaded.path.string(), "; built with ", ours)};
}

Finding examine_device() {
  const SelectedDevice selected = select_device(RunOptions());
  const bool is_second_choice = selected.device.is_cpu() && selected.description != "cpu";
  return {is_second_choice ? Grade::warning : Grade::ok, "device", selected.description};
}

Finding examine_place(const SearchPlace& place) {
  const std::string subject = text(place.origin, ": ", place.path.string());
  std::error_code error;
  if (!fs::exists(place.path, error)) return {Grade::ok, subject, "does not exist"};
  if (::access(place.path.c_str(), R_OK) != 0) return {Grade::bad, subject, "is not readable for you"};
  return {Grade::ok, subject, "is searched"};
}

/// @param lock  from the experiment given with --config
Finding examine_plugin(const FoundPlugin& plugin, const std::vector<LockedPlugin>& lock) {
  const std::string& id = plugin.description.info.id;
  const std::string subject = text(id, id.empty() ? "" : " ", "(", plugin.path.string(), ")");
  if (!plugin.problem.empty()) return {Grade::bad, subject, plugin.problem};
  const auto is_this = [&](const LockedPlugin& locked) { return locked.id == id; };
  if (!lock.empty() && std::none_of(lock.begin(), lock.end(), is_this)) {
    return {Grade::ok, subject, "is not in the experiment's [[plugins.lock]], and was not loaded"};
  }
  try {
    PluginHost::try_loading(plugin, lock);
  } catch (const Error& error) {
    return {Grade::bad, subject, error.what()};
  }
  if (!plugin.remark().empty()) return {Grade::warning, subject, plugin.remark()};
  return {Grade::ok, subject, text("loads; ", plugin.description.components.size(), " components")};
}

std::vector<Finding> examine(const SearchPaths& search, const std::vector<LockedPlugin>& lock) {
  std::vector<Finding> findings{examine_libtorch(), examine_device()};
  if (is_safe_mode()) findings.push_back({Grade::ok, "safe mode", "only the installed folder is searched"});
  for (const SearchPlace& place : search.places()) findings.push_back(examine_place(place));
  const PluginCatalog catalog = PluginCatalog::discover(search);
  for (const FoundPlugin& plugin : catalog.plugins()) findings.push_back(examine_plugin(plugin, lock));
  const auto folder = LoadRecord::folder();
  if (folder) findings.push_back({Grade::ok, "records", text("of first loads are in ", folder->string())});
  return findings;
}

Value to_value(const Finding& finding) {
  Value value{Value::Table{}};
  value.set("grade", std::string(kGradeNames[static_cast<std::size_t>(finding.grade)]));
  value.set("subject", finding.subject);
  value.set("message", finding.message);
  return value;
}

void print(const Finding& finding) {
  std::string message = printable(finding.message);
  for (std::size_t at = 0; (at = message.find('\n', at)) != std::string::npos; at += 10)
    message.replace(at, 1, "\n         ");
  const std::string grade(kGradeNames[static_cast<std::size_t>(finding.grade)]);
  std::cout << grade << std::string(9 - grade.size(), ' ') << printable(finding.subject) << ": " << message << '\n';
}

int doctor_command(const std::vector<std::string>& arguments) {
  ArgumentRules rules{"plugins doctor", kDoctorUsage, po::options_description("options"), {}};
  rules.visible.add_options()("plugin", po::value<std::vector<std::string>>()->value_name("FILE"),
                              "also check this library or folder; repeatable")(
      "config", po::value<std::string>()->value_name("FILE"),
      "also the `[plugins] paths` of this experiment; if it has a lock, only the locked files")(
      "forget-crashes", "try plugins again that crashed before")("json", "print JSON");
  const auto parsed = parse_arguments(std::move(rules), arguments);
  if (!parsed) return 0;
  if (parsed->count("forget-crashes") > 0) {
    if (parsed->size() > 1) throw ConfigError("plugins doctor: --forget-crashes goes with no other option");
    std::cerr << "forgot " << LoadRecord::forget_crashes() << " crashes\n";
    return 0;
  }
  SearchPaths search;
  for (const std::string& file : values(*parsed, "plugin")) search.files.emplace_back(file);
  Value experiment;
  if (parsed->count("config") > 0) experiment = load_document((*parsed)["config"].as<std::string>());
  search.config = plugin_paths(experiment);
  const std::vector<Finding> findings = examine(search, lock_in(experiment));
  std::size_t bad = 0;
  Value::Array all;
  for (const Finding& finding : findings) {
    bad += finding.grade == Grade::bad ? 1 : 0;
    all.push_back(to_value(finding));
    if (parsed->count("json") == 0) print(finding);
  }
  if (parsed->count("json") > 0) {
    std::cout << to_json(all, 2) << '\n';
  } else {
    std::cout << (bad == 0 ? "no problems found" : text(bad, bad == 1 ? " problem" : " problems", " found")) << '\n';
  }
  return bad == 0 ? 0 : 1;
}

}  // namespace

}  // namespace casdm

int casdm_plugins_doctor_command(const std::vector<std::string>& arguments) { return casdm::doctor_command(arguments); }
