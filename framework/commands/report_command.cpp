#include <chrono>
#include <iostream>
#include <thread>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/commands/arguments.h"
#include "framework/commands/commands.h"
#include "framework/report/report.h"
#include "framework/report/written_page.h"
#include "framework/support/child_program.h"
#include "framework/support/files.h"
#include "framework/support/run_contents.h"

namespace casdm {

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace {

constexpr const char* kReportCommand = "report";
constexpr const char* kReportUsage = R"(usage: casdm report RUN|SWEEP [--out FILE] [--open]

Writes one HTML file about a run or a sweep: what it scored, every curve of the log, the samples over
time with the arms side by side, the experiment and how arms differ, versions and time. It needs no
other file and no network, so it can be mailed as it is. The default is report.html in the folder.

  casdm report runs/quickstart --open
  casdm report runs/quick --out quick.html
)";

void open_in_browser(const fs::path& file) {
  try {
    ChildProgram browser({"/usr/bin/xdg-open", file.string()}, "/dev/null");
    while (!browser.has_ended()) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    if (browser.status() == 0) return;
  } catch (const Error&) {
    // reported below
  }
  std::cerr << "no browser could be started; open " << file.string() << " by hand\n";
}

}  // namespace

int report_command(const std::vector<std::string>& arguments) {
  std::string folder, out;
  bool opens = false;
  po::options_description options("options");
  options.add_options()("of", po::value(&folder), "the folder of a run or a sweep (also as the first argument)")(
      "out", po::value(&out)->value_name("FILE"), "where to write it; default: report.html in the folder")(
      "open", po::bool_switch(&opens), "open it in the browser");
  if (!fill_arguments({kReportCommand, kReportUsage, options, {"of"}}, arguments)) return 0;
  if (folder.empty()) throw ConfigError("report: give the folder of a run or a sweep; see `casdm report --help`");
  const fs::path usual = fs::path(folder) / "report.html";
  const fs::path file = out.empty() ? usual : fs::path(out);
  const bool is_usual = file.lexically_normal() == usual.lexically_normal();
  if (!is_usual) refuse_inside_run(kReportCommand, file);
  refuse_other_page(kReportCommand, file);
  const std::string page = report_of(folder);
  if (!is_usual) refuse_page_of_another(kReportCommand, file, page);
  remove_leftovers(fs::absolute(file).parent_path());
  write_file(file, page);
  std::cout << file.string() << '\n';
  if (opens) open_in_browser(file);
  return 0;
}

}  // namespace casdm
