#include "framework/support/sealed_json.h"

#include "casdm/error.h"
#include "framework/support/files.h"

namespace casdm {

namespace {

constexpr const char* kSum = "sha256";

void remove_sum(Value& table) {
  std::erase_if(table.as_table(), [](const Value::Member& member) { return member.first == kSum; });
}

}  // namespace

Value sealed(Value table) {
  remove_sum(table);
  table.set(kSum, sha256(to_json(table)));
  return table;
}

void check_seal(const Value& table) {
  const Value* sum = table.find(kSum);
  if (sum == nullptr) return;
  Value rest = table;
  remove_sum(rest);
  if (*sum == Value(sha256(to_json(rest)))) return;
  throw Error("it is altered: its SHA-256 is not the one it records");
}

}  // namespace casdm
