#include "framework/standin/counts.h"

#include <torch/csrc/autograd/function.h>

#include <algorithm>
#include <mutex>

#include "casdm/text.h"
#include "framework/loading/crash_message.h"
#include "framework/standin/late_copies.h"
#include "framework/standin/recorder.h"
#include "framework/standin/standin.h"

namespace casdm::standin {

namespace {

/// What was used so far. Never destroyed, since tensors in static variables may outlive everything else.
struct Record {
  std::mutex mutex;
  DeviceUse use;
};

Record& record() {
  static auto& only = *new Record;
  return only;
}

template <class Change>
void change(const Change& change_use) {
  const std::lock_guard lock(record().mutex);
  change_use(record().use);
}

/// Whose code this thread runs; null: the host's.
const char* running() {
  const char* component = set_running(nullptr);
  set_running(component);
  return component;
}

/// " in 'NAME'", or "" in host code.
std::string in_component() {
  const char* component = running();
  return component == nullptr ? "" : text(" in '", component, "'");
}

std::string part_of_step() {
  if (torch::autograd::get_current_node() != nullptr) return "backward pass";
  const char* component = running();
  return component == nullptr ? "host" : component;
}

std::map<std::string, std::int64_t> minus(std::map<std::string, std::int64_t> counts,
                                          const std::map<std::string, std::int64_t>& before) {
  for (const auto& [name, count] : before) {
    if ((counts[name] -= count) == 0) counts.erase(name);
  }
  return counts;
}

}  // namespace

void count_launch(const std::string& name) {
  if (Recorder::current() != nullptr) return;
  change([&](DeviceUse& use) {
    ++use.launches;
    ++use.operators[name];
    ++use.parts[part_of_step()];
  });
}

void count_allocation() {
  change([](DeviceUse& use) { ++use.allocations; });
}

void count_item() {
  change([](DeviceUse& use) { ++use.items; });
}

void count_free_copy(bool is_aside) {
  refuse_while_recording("a copy of the host's values" + in_component());
  change([&](DeviceUse& use) {
    ++use.free_copies;
    if (is_aside) ++use.copies_aside;
  });
}

void count_wait(const std::string& reason, std::int64_t bytes, const QueuePlace& until) {
  const std::string full = reason + in_component();
  refuse_while_recording(full);
  change([&](DeviceUse& use) {
    ++use.waits;
    use.waited_bytes += bytes;
    ++use.reasons[full];
    use.queued += std::max<std::int64_t>(use.launches - until.launches, 0);
  });
  make_copies(until.copies);
}

QueuePlace end_of_queue() {
  const std::lock_guard lock(record().mutex);
  return {record().use.launches, queued_copies()};
}

DeviceUse device_use() {
  DeviceUse result;
  change([&](const DeviceUse& use) { result = use; });
  return result;
}

DeviceUse operator-(const DeviceUse& after, const DeviceUse& before) {
  DeviceUse result = after;
  result.launches -= before.launches;
  result.waits -= before.waits;
  result.waited_bytes -= before.waited_bytes;
  result.queued -= before.queued;
  result.items -= before.items;
  result.free_copies -= before.free_copies;
  result.copies_aside -= before.copies_aside;
  result.allocations -= before.allocations;
  result.operators = minus(after.operators, before.operators);
  result.parts = minus(after.parts, before.parts);
  result.reasons = minus(after.reasons, before.reasons);
  return result;
}

std::string describe_waits(const DeviceUse& use) {
  std::string result = text(use.waits, " waits");
  const char* separator = ": ";
  for (const auto& [reason, count] : use.reasons) {
    result += text(separator, count, " x ", reason);
    separator = ", ";
  }
  return result;
}

}  // namespace casdm::standin
