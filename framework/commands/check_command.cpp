#include <iostream>

#include "casdm/error.h"
#include "casdm/text.h"
#include "casdm/value.h"
#include "framework/commands/arguments.h"
#include "framework/commands/commands.h"
#include "framework/conformance/runner.h"

namespace casdm {

namespace {

namespace po = boost::program_options;

constexpr const char* kCheckUsage =
    R"(usage: casdm plugins check FILE [--strict] [--device NAME] [--filter TEXT] [--json]

Runs the conformance tests on every component of a plugin library: the contract of its interface,
gradients against central differences, finiteness, state, randomness, threads. Each test has its
own process and time limit, so a plugin that crashes or hangs fails only that test.
A component is tested only if it can be created: use --set for options without a default. With
--device it also computes there, must give the same results as on the CPU and never make the host wait;
the device stand-in takes the place of CUDA on machines without a GPU. Exit status: 0 when every
test passed or does not apply, 1 when one failed or could not be run.

  casdm plugins check build/metric_mine.so
  casdm plugins check build/metric_mine.so --strict --filter mine/gradient --seed 3
  casdm plugins check build/metric_mine.so --device stand-in
  casdm plugins check build/dataset_mine.so --set mine/path=images
)";

Value to_value(const conformance::Result& result) {
  Value value{Value::Table{}};
  value.set("component", result.component);
  value.set("kind", result.kind);
  value.set("test", result.test);
  value.set("outcome", result.outcome);
  value.set("message", result.message);
  value.set("seconds", result.seconds);
  return value;
}

void print(const conformance::Result& result) {
  std::string message = result.message;
  for (std::size_t at = 0; (at = message.find('\n', at)) != std::string::npos; at += 7)
    message.replace(at, 1, "\n      ");
  std::cout << "  " << result.outcome << std::string(result.outcome.size() < 12 ? 12 - result.outcome.size() : 1, ' ')
            << result.component << '/' << result.test << (message.empty() ? "" : "\n      " + message) << std::endl;
}

int check_command(const std::vector<std::string>& arguments) {
  std::optional<std::int64_t> seed;
  std::optional<double> timeout;
  ArgumentRules rules{"plugins check", kCheckUsage, po::options_description("options"), {"file"}};
  rules.visible.add_options()  //
      ("strict", "the strict level, which our own plugins pass")("filter", po::value<std::string>()->value_name("TEXT"),
                                                                 "only tests whose component/test contains TEXT")(
          "seed", whole_number("seed", seed, 0), "seed of the random images and directions, to reproduce a failure")(
          "timeout", real_number("timeout", timeout, 0), "time limit of a test, in seconds; default: 120")(
          "set", po::value<std::vector<std::string>>()->value_name("C/KEY=VALUE"),
          "an option of component C; repeatable")("device", po::value<std::string>()->value_name("NAME"),
                                                  "also run the tests for a device: stand-in, cuda or cuda:1")(
          "json", "print JSON");
  const auto parsed = parse_arguments(std::move(rules), arguments);
  if (!parsed) return 0;
  conformance::RunOptions options;
  options.library = word(*parsed, "file", "plugins check");
  options.is_strict = parsed->count("strict") > 0;
  if (parsed->count("filter") > 0) options.filter = (*parsed)["filter"].as<std::string>();
  options.overrides = values(*parsed, "set");
  if (parsed->count("device") > 0) options.device = (*parsed)["device"].as<std::string>();
  options.seed = static_cast<std::uint64_t>(seed.value_or(0));
  options.timeout = timeout.value_or(120);
  const bool as_json = parsed->count("json") > 0;
  const std::vector<conformance::Result> results = conformance::run(options, as_json ? nullptr : print);
  std::size_t bad = 0;
  std::size_t skipped = 0;
  std::size_t untested = 0;
  Value::Array all;
  for (const conformance::Result& result : results) {
    skipped += result.outcome == "skipped";
    untested += result.outcome == "not tested";
    bad += !result.is_good() && result.outcome != "not tested";
    all.push_back(to_value(result));
  }
  if (as_json) {
    std::cout << to_json(all, 2) << '\n';
  } else {
    std::cout << results.size() - bad - skipped - untested << " passed, " << bad << " failed, " << skipped
              << " skipped";
    if (untested > 0) std::cout << ", " << untested << " NOT TESTED: the options above are missing";
    std::cout << '\n';
    if (bad > 0) {
      std::cout << "reproduce one with --filter COMPONENT/TEST --seed " << options.seed
                << (options.is_strict ? " --strict" : "") << '\n';
    }
  }
  if (results.empty()) throw ConfigError(text("plugins check: no test matches --filter '", options.filter, "'"));
  return bad == 0 && untested == 0 ? 0 : 1;
}

}  // namespace

}  // namespace casdm

int casdm_plugins_check_command(const std::vector<std::string>& arguments) { return casdm::check_command(arguments); }
