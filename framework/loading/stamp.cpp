#include "framework/loading/stamp.h"

#include "casdm/stamp.h"

#include <charconv>
#include <vector>

#include "casdm/plugin_description.h"
#include "casdm/text.h"
#include "framework/support/text_table.h"

namespace casdm {

namespace {

bool is_same(const std::string& plugin, const std::string& host) { return plugin == host; }

/// "2.11.0+cu130" and "2.11.1" agree: patch releases keep LibTorch's classes.
bool is_same_minor(const std::string& plugin, const std::string& host) {
  const auto minor = [](const std::string& version) {
    return version.substr(0, version.find('.', version.find('.') + 1));
  };
  return minor(plugin) == minor(host);
}

/// "gcc 12.2" and "gcc 12.3" agree.
bool is_same_major(const std::string& plugin, const std::string& host) {
  return plugin.substr(0, plugin.find('.')) == host.substr(0, host.find('.'));
}

bool is_at_least(const std::string& plugin, const std::string& host) {
  const auto standard = [](const std::string& text) {
    long value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
  };
  return standard(plugin) >= standard(host);
}

struct Rule {
  std::string_view field;
  std::string_view requirement;
  bool (*holds)(const std::string& plugin, const std::string& host);
};

constexpr Rule kRules[] = {
    {"sdk_headers", "the same, until SDK 1.0", is_same},
    {"libtorch", "the same major.minor", is_same_minor},
    {"cxx11_abi", "the same", is_same},
    {"compiler", "the same major version", is_same_major},
    {"stdlib", "the same", is_same},
    {"cxx_standard", "at least the host's", is_at_least},
    {"machine", "the same", is_same},
};

using Fields = std::vector<std::pair<std::string, std::string>>;

std::string value_of(const Fields& fields, std::string_view name) {
  for (const auto& [field, value] : fields) {
    if (field == name) return value;
  }
  return "(missing)";
}

}  // namespace

const char* host_stamp() { return CASDM_STAMP; }

std::string compare_stamps(std::string_view plugin, std::string_view host) {
  const Fields theirs = parse_stamp(plugin);
  const Fields ours = parse_stamp(host);
  std::vector<std::vector<std::string>> rows{{"field", "plugin", "host", "must be"}};
  for (const Rule& rule : kRules) {
    const std::string their_value = value_of(theirs, rule.field);
    const std::string our_value = value_of(ours, rule.field);
    if (rule.holds(their_value, our_value)) continue;
    rows.push_back({std::string(rule.field), their_value, our_value, std::string(rule.requirement)});
  }
  if (rows.size() == 1) return "";
  return text(text_table(rows, 2), "  Rebuild the plugin with this host's SDK (casdm ", value_of(ours, "sdk_version"),
              ", LibTorch ", value_of(ours, "libtorch"), ", ", value_of(ours, "compiler"), ").");
}

}  // namespace casdm
