#include "framework/commands/cost_command.h"

#include <iostream>

#include "framework/commands/arguments.h"
#include "framework/commands/commands.h"
#include "framework/composition/memory_advice.h"
#include "framework/cost/precision_choice.h"
#include "framework/support/memory.h"
#include "framework/support/number_format.h"

namespace casdm {

namespace po = boost::program_options;

namespace {

constexpr double kLongest = 15;  // seconds of steps

int cost_command(const std::vector<std::string>& given) {
  ArgumentRules rules{
      "config", "usage: casdm config check --cost FILE\n", po::options_description("options"), {"file"}};
  const auto many = [] { return po::value<std::vector<std::string>>(); };
  rules.visible.add_options()("set", many())("plugin", many())("json", "");
  const auto parsed = parse_arguments(std::move(rules), given);
  if (!parsed) return 0;
  const std::vector<std::string> plugins = values(*parsed, "plugin");
  const CostEstimate cost = measured_cost(
      load_experiment(word(*parsed, "file", "config"), values(*parsed, "set"), {plugins.begin(), plugins.end()}));
  std::cout << (parsed->count("json") > 0 ? to_json(to_value(cost), 2) + "\n" : describe(cost));
  return 0;
}

}  // namespace

CostEstimate measured_cost(const LoadedExperiment& experiment) {
  const LoadedExperiment chosen = with_chosen_precision(experiment);
  const CostEstimate cost = with_memory_advice(chosen.options, [&] {
    return estimate_cost(chosen, kLongest, [](const std::string& line) { std::cerr << line << '\n'; });
  });
  const auto available = static_cast<std::int64_t>(memory_of_machine());
  if (cost.is_on_cpu() && cost.memory.total() > available) {
    std::cerr << "warning: this machine has too little memory for the training: "
              << significant(static_cast<double>(available) / 1e9) << " GB\n";
  }
  return cost;
}

}  // namespace casdm

int casdm_cost_command(const std::vector<std::string>& arguments) { return casdm::cost_command(arguments); }
