#include "framework/comparison/result_files.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <csignal>
#include <map>

#include "casdm/text.h"
#include "config/support.h"
#include "framework/support/files.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

void write(const std::vector<std::filesystem::path>& runs, const std::string& out,
           Replaced replaced = Replaced::same_runs) {
  const Comparison comparison = compare_runs(runs, "");
  write_results(out, comparison, summarise(comparison), {}, "compare", replaced);
}

}  // namespace

TEST_CASE("results of other runs are not replaced unasked, and those of more runs replace those of fewer") {
  const TemporaryFolder folder;
  for (const std::string name : {"a", "b", "c"}) {
    folder.write(
        text("runs/", name, "/config.toml"),
        text("[run]\nname = \"", name, "\"\n[train]\ntotal_images = 10\n[[metrics]]\ntype = \"", name, "\"\n"));
    folder.write(text("runs/", name, "/metrics.jsonl"), "{\"images\":10,\"loss\":{\"x0\":{\"mean\":0.5}}}\n");
  }
  write({"runs/a", "runs/b"}, "out");
  CHECK_NOTHROW(write({"runs/b", "runs/../runs/a"}, "out"));
  const std::string before = read_file("out/results.csv");
  const std::string refused = message_of<ConfigError>([] { write({"runs/a", "runs/c"}, "out"); });
  CHECK(refused.starts_with("compare: out/results.csv is of other runs, too (\"../runs/b\", seen from there)"));
  CHECK(refused.ends_with("move it away, or pass --overwrite"));
  CHECK(read_file("out/results.csv") == before);
  CHECK_NOTHROW(write({"runs/a", "runs/c"}, "out", Replaced::any));
  CHECK_NOTHROW(write({"runs/a", "runs/b", "runs/c"}, "out"));
  CHECK_NOTHROW(write({"runs/a", "runs/b"}, "out", Replaced::unedited));  // a sweep without an arm
  // Moved together with its runs it is the same comparison.
  std::filesystem::create_directory("moved");
  std::filesystem::rename("runs", "moved/runs");
  std::filesystem::rename("out", "moved/out");
  CHECK_NOTHROW(write({"moved/runs/a", "moved/runs/b"}, "moved/out"));

  folder.write("moved/out/results.md", read_file("moved/out/results.md") + "my note\n");
  for (const Replaced replaced : {Replaced::same_runs, Replaced::unedited}) {
    CHECK(message_of<ConfigError>([&] {
            write({"moved/runs/a", "moved/runs/b"}, "moved/out", replaced);
          }).find("was changed since this program wrote it") != std::string::npos);
  }
  CHECK_NOTHROW(write({"moved/runs/a", "moved/runs/b"}, "moved/out", Replaced::any));
  folder.write("moved/out/results.tex", "mine\n");
  CHECK(message_of<ConfigError>([] {
          write({"moved/runs/a"}, "moved/out", Replaced::any);
        }).find("was not written by this") != std::string::npos);
}

TEST_CASE("results that cannot all be written leave those of before, with their record") {
  const TemporaryFolder folder;
  for (const std::string name : {"a", "b"}) {
    folder.write(text("runs/", name, "/config.toml"),
                 text("[run]\nname = \"", name, "\"\n[train]\ntotal_images = 10\n"));
    folder.write(text("runs/", name, "/metrics.jsonl"), "{\"images\":10,\"loss\":{\"x0\":{\"mean\":0.5}}}\n");
  }
  write({"runs/a"}, "out");
  const auto content = [] {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator("out")) {
      files[entry.path().filename()] = read_file(entry.path());
    }
    return files;
  };
  const auto before = content();
  REQUIRE(before.size() == 5);
  // The table fits, and the longest file does not.
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit limit = {};
  ::getrlimit(RLIMIT_FSIZE, &limit);
  struct rlimit low = limit;
  low.rlim_cur = before.at("results.json").size() - 1;
  REQUIRE(before.at("results.csv").size() + 100 < low.rlim_cur);
  ::setrlimit(RLIMIT_FSIZE, &low);
  CHECK_THROWS_AS(write({"runs/a", "runs/b"}, "out"), Error);
  ::setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, handler);
  CHECK(content() == before);
}
