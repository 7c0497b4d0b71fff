#include "plan.h"

#include <sstream>

Plan plan_of(const std::string& words) {
  Plan plan;
  std::istringstream rest(words);
  for (std::string word; rest >> word;) {
    const std::size_t equals = word.find('=');
    const std::string key = word.substr(0, equals), value = word.substr(equals + 1);
    if (key == "under") plan.under = value;
    if (key == "report") plan.report = value;
    if (key == "fail") plan.fail = value;
    if (key == "kill") plan.kill = value;
    if (key == "cut") plan.cut = value;
    if (key == "shadow") plan.shadow = value;
    if (key == "at") plan.at = plan.last = std::stol(value);
    if (key == "last") plan.last = std::stol(value);
    if (key == "signal") plan.signal = std::stol(value);
    if (key == "delay") plan.delay = std::stol(value);
  }
  return plan;
}
