#include "framework/conformance/runner.h"

#include <stdlib.h>

#include "casdm/text.h"
#include "framework/conformance/conformance.h"
#include "framework/loading/child_process.h"
#include "framework/loading/plugin_call.h"
#include "framework/support/exception_message.h"
#include "framework/support/scratch_folder.h"

namespace casdm::conformance {

namespace {

constexpr int kPassed = 0;
constexpr int kFailed = 1;
constexpr int kSkipped = 2;
constexpr int kNotTested = 3;

/// Runs the one test in its own process.
int run_here(const FoundPlugin& plugin, const PluginCatalog& catalog, const ComponentEntry& entry, const Test& test,
             const RunOptions& options, std::string& message) {
  try {
    const PluginHost host(catalog, {}, PluginHost::Probing::off);
    test.run(Subject(host, plugin, entry, options.overrides, options.seed, test_device(options.device)));
    return kPassed;
  } catch (const Skip& skip) {
    message = skip.what();
    return kSkipped;
  } catch (const NotTested& reason) {
    message = reason.what();
    return kNotTested;
  } catch (const std::exception& error) {
    message = exception_message(error);
  } catch (...) {
    message = "it threw " + current_exception_type();
  }
  return kFailed;
}

Result run_one(const FoundPlugin& plugin, const PluginCatalog& catalog, const ComponentEntry& entry, const Test& test,
               const RunOptions& options) {
  const ScratchFolder scratch("casdm-conformance");
  const ChildResult child = run_in_child_process(
      [&](std::string& message) {
        ::setenv("TMPDIR", scratch.path().c_str(), 1);
        return run_here(plugin, catalog, entry, test, options, message);
      },
      options.timeout);
  Result result{entry.name, entry.kind, std::string(test.name), "passed", child.message, child.seconds};
  if (child.end == ChildResult::End::timed_out) {
    result.outcome = "timed out";
    result.message = "it " + child.description;
  } else if (child.end == ChildResult::End::died) {
    result.outcome = "crashed";
    result.message = "it " + child.description + (child.err.empty() ? "" : "; its last words:\n" + child.err);
  } else if (child.status == kSkipped) {
    result.outcome = "skipped";
  } else if (child.status == kNotTested) {
    result.outcome = "not tested";
  } else if (child.status == kFailed) {
    result.outcome = "failed";
  } else if (!child.out.empty()) {
    result.outcome = "failed";
    result.message = "it writes to stdout, which belongs to the command's results: \"" + child.out.substr(0, 80) + "\"";
  }
  return result;
}

}  // namespace

std::vector<Result> run(const RunOptions& options, void (*on_result)(const Result&)) {
  const PluginCatalog catalog = PluginCatalog::of_library(options.library);
  const FoundPlugin& plugin = catalog.plugins().front();
  if (!plugin.problem.empty()) throw PluginError(text(plugin.path.string(), " ", plugin.problem));
  std::vector<Test> all = tests();
  if (options.device != "cpu") {
    for (const Test& test : device_tests()) all.push_back(test);
  }
  std::vector<Result> results;
  for (const ComponentEntry& entry : plugin.description.components) {
    for (const Test& test : all) {
      if (!test.kind.empty() && test.kind != entry.kind) continue;
      if (test.is_strict && !options.is_strict) continue;
      if (text(entry.name, "/", test.name).find(options.filter) == std::string::npos) continue;
      results.push_back(run_one(plugin, catalog, entry, test, options));
      if (on_result != nullptr) on_result(results.back());
    }
  }
  return results;
}

}  // namespace casdm::conformance
