#include <doctest/doctest.h>

#include "casdm/text.h"
#include "framework/support/files.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// `casdm` with these arguments is refused as wrong use, and the message contains all of `expected`.
void refuses(const std::string& arguments, const std::vector<std::string>& expected) {
  const TemporaryFolder folder;
  const Outcome outcome = shell("casdm " + arguments, folder.path());
  CHECK_MESSAGE(outcome.status == 2, arguments << "\n" << outcome.err);
  for (const std::string& part : expected)
    CHECK_MESSAGE(outcome.err.find(part) != std::string::npos, arguments << "\n" << outcome.err);
}

}  // namespace

TEST_CASE("every option that takes a number refuses invalid ones and says what it accepts") {
  const std::string sample = "sample runs/x --out o --num 1 ";
  refuses("sample runs/x --out o --num 0", {"--num", "a whole number from 1 to", "\"0\"", "casdm sample --help"});
  refuses("sample runs/x --out o --num -5", {"--num", "\"-5\""});
  refuses("sample runs/x --out o --num 1e3", {"--num", "\"1e3\""});
  refuses("sample runs/x --out o --num 99999999999999999999", {"--num"});
  refuses(sample + "--seed -1", {"--seed", "a whole number of at least 0", "\"-1\""});
  refuses(sample + "--seed 1.5", {"--seed"});
  refuses(sample + "--batch 0", {"--batch", "a whole number from 1 to"});
  refuses(sample + "--batch -64", {"--batch", "\"-64\""});
  refuses(sample + "--label -1", {"--label", "a whole number of at least 0", "\"-1\""});
  refuses("ema runs/x --out o --sigma-rel 0", {"--sigma-rel", "a number above 0", "\"0\"", "casdm ema --help"});
  refuses("ema runs/x --out o --sigma-rel nan", {"--sigma-rel", "\"nan\""});
  refuses("ema runs/x --out o --sigma-rel -0.1", {"--sigma-rel", "\"-0.1\""});
  refuses("ema runs/x --out o --sigma-rel 0.1 --at 0", {"--at", "a whole number of at least 1", "\"0\""});
  refuses("ema runs/x --out o --sigma-rel 0.1 --at -8", {"--at", "\"-8\""});
  refuses("import x.pt --out o --image-size 0", {"--image-size", "a whole number from 1 to 4096", "\"0\""});
  refuses("import x.pt --out o --image-size -64", {"--image-size", "\"-64\""});
  refuses("plugins check x.so --seed -1", {"--seed", "a whole number of at least 0", "casdm plugins check --help"});
  refuses("plugins check x.so --timeout 0", {"--timeout", "a number above 0"});
  refuses("plugins check x.so --timeout inf", {"--timeout", "\"inf\""});

  // For a number too large for any integer, the message gives the largest.
  const std::string beyond = "9223372036854775808";
  const std::string largest = "9223372036854775807";
  refuses(sample + "--seed " + beyond, {"--seed", largest, beyond});
  refuses(sample + "--label " + beyond, {"--label", largest});
  refuses("ema runs/x --out o --sigma-rel 0.1 --at " + beyond, {"--at", largest});
  refuses("plugins check x.so --seed " + beyond, {"--seed", largest});
}

TEST_CASE("for a key with a number too large for any integer, the message gives the largest") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  for (const std::string set : {"run.seed=9223372036854775808", "run.threads=-99999999999999999999",
                                "train.total_images=9223372036854775808", "train.total_images=99999999999999M"}) {
    const Outcome outcome = shell("casdm config check small.toml --set " + set, folder.path());
    CHECK(outcome.status == 2);
    CHECK_MESSAGE(outcome.err.find("integers end at 9223372036854775807") != std::string::npos, outcome.err);
  }
}

TEST_CASE("options that have no effect beside others are refused") {
  for (const char* part : {"--print", "--slurm", "--cell x"}) {
    refuses(text("sweep x.toml --measure loss ", part), {"sweep: --measure chooses among the results"});
    refuses(text("sweep x.toml --no-pilot ", part), {"sweep: --no-pilot is for the plan"});
  }
  refuses("sweep x.toml --print --jobs 2", {"sweep: --jobs does not go with --print"});
  refuses("compare runs/a runs/b --json --format csv", {"compare: --json and --format exclude each other"});
  for (const char* option : {"--json", "--config x.toml", "--plugin x.so"}) {
    refuses(text("plugins doctor --forget-crashes ", option), {"plugins doctor: --forget-crashes goes with no other"});
  }
}

TEST_CASE("an unknown command is answered with a hint") {
  refuses("foo", {"there is no command \"foo\"; `casdm --help` lists them"});
  refuses("trian", {"there is no command \"trian\"; did you mean 'train'? `casdm --help` lists them"});
  refuses("--versoin", {"did you mean '--version'?"});
  refuses("plugins docter", {"did you mean 'doctor'?"});
  refuses("plugins --json doctor", {"plugins: write 'doctor' before its options"});
}

TEST_CASE("an unknown option is answered with a hint") {
  refuses("train small.toml --overwirte",
          {"train: there is no option \"--overwirte\"; did you mean --overwrite? See `casdm train --help`"});
  refuses("evaluate runs/x --wieghts=ema", {"did you mean --weights?"});
  refuses("report runs/x --frobnicate", {"report: there is no option \"--frobnicate\"; see `casdm report --help`"});
}

TEST_CASE("output lost on stdout is a failure") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  for (const std::string command :
       {"--version", "--help", "sample --help", "plugins list", "plugins list --json", "plugins paths",
        "config show small.toml", "config check small.toml", "config schema", "train small.toml --dry-run"}) {
    const Outcome outcome = shell("casdm " + command + " > /dev/full", folder.path());
    CHECK_MESSAGE(outcome.status == 1, command);
    CHECK_MESSAGE(outcome.err.find("the output cannot be written to stdout") != std::string::npos, command
                                                                                                       << "\n"
                                                                                                       << outcome.err);
  }
}

TEST_CASE("a command whose standard streams are closed works, and blames no plugin") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  for (const char* closed : {"2>&-", "<&- 2>&-"}) {
    const Outcome outcome = shell(text("casdm train small.toml --overwrite ", closed), folder.path());
    CHECK_MESSAGE(outcome.status == 0, closed);
  }
  CHECK(shell("casdm config check small.toml >&-", folder.path()).status == 1);
  const Outcome check = shell("casdm config check small.toml", folder.path());
  CHECK_MESSAGE(check.status == 0, check.err);
}

TEST_CASE("a working directory that was removed is named") {
  const TemporaryFolder folder;
  const Outcome outcome = shell("mkdir gone && cd gone && rmdir ../gone && casdm plugins list", folder.path());
  CHECK(outcome.status == 1);
  CHECK_MESSAGE(outcome.err == "casdm: the working directory was removed; change to another one\n", outcome.err);
}

TEST_CASE("a program that starts with SIGCHLD ignored sees how its children end") {
  const TemporaryFolder folder;
  const Outcome outcome =
      shell("timeout -k 9 60 env --ignore-signal=CHLD CASDM_PYTHON=false casdm quickstart --quick --runs runs",
            folder.path());
  CHECK(outcome.status == 1);
  CHECK_MESSAGE(outcome.err.find("quickstart: this has failed, for the reason above: false ") != std::string::npos,
                outcome.err);
}
