#include <cstdlib>
#include <iostream>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/commands/arguments.h"
#include "framework/commands/commands.h"
#include "framework/commands/shipped_files.h"
#include "framework/support/child_program.h"
#include "framework/training/signals.h"

namespace casdm {

namespace fs = std::filesystem;
namespace po = boost::program_options;

namespace {

constexpr const char* kDocsUsage = R"(usage: casdm docs [--print]

Shows the documentation that is installed with casdm, with its search and without a network: prints a local address,
opens it in a browser if there is a display, and serves the pages until Ctrl-C. Needs python3; CASDM_PYTHON names another one.
)";

// Serves the folder named by its first argument on a free port; the second says whether to open a browser.
constexpr const char* kServer = R"(
import functools, http.server, sys, webbrowser
class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=sys.argv[1]))
address = f"http://127.0.0.1:{server.server_port}/"
print(address, flush=True)
if sys.argv[2] == "open":
    webbrowser.open(address)
try:
    server.serve_forever()
except KeyboardInterrupt:
    pass
)";

bool has_display() {
  for (const char* variable : {"DISPLAY", "WAYLAND_DISPLAY"}) {
    const char* value = std::getenv(variable);
    if (value != nullptr && *value != '\0') return true;
  }
  return false;
}

}  // namespace

int docs_command(const std::vector<std::string>& arguments) {
  ArgumentRules rules{"docs", kDocsUsage, po::options_description("options"), {}};
  rules.visible.add_options()("print", "only print the folder that holds the pages");
  const auto parsed = parse_arguments(std::move(rules), arguments);
  if (!parsed) return 0;
  const fs::path pages = data_folder().parent_path() / "doc" / "casdm" / "html";
  if (!fs::exists(pages / "index.html")) {
    const fs::path plain = pages.parent_path();
    throw Error(text("there are no pages in ", pages.string(),
                     ": this casdm was installed without them. Build them with tools/site.sh in the source tree and "
                     "install casdm again, or read the Markdown files in ",
                     fs::exists(plain / "README.md") ? plain.string() : "the tree's folder docs"));
  }
  if (parsed->count("print") > 0) {
    std::cout << pages.string() << '\n';
    return 0;
  }
  const char* python = std::getenv("CASDM_PYTHON");
  catch_signals();
  // Isolated (-I), so that no http.py of the working directory is imported.
  const int status = run_in_foreground({"/usr/bin/env", python != nullptr ? python : "python3", "-I", "-c", kServer,
                                        pages.string(), has_display() ? "open" : "print"},
                                       /*has_results=*/true);
  return interrupted() ? 0 : status;
}

}  // namespace casdm
