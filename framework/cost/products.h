#pragma once

#include <ATen/core/ivalue.h>
#include <c10/util/ArrayRef.h>

#include <cstdint>
#include <optional>
#include <string_view>

namespace casdm {

/// The name under which code that multiplies without an operator of LibTorch says how many multiply-adds it is about to
/// do, with their number as the only input:
///
///     RECORD_USER_SCOPE_WITH_INPUTS("casdm::multiply_adds", std::vector<c10::IValue>{count});
inline constexpr const char* kOwnProducts = "casdm::multiply_adds";

/// The multiply-adds of an operator of LibTorch that multiplies matrices, convolves or attends, by the shapes of its
/// inputs; nothing: it does none of these. Operators that are made of others, such as aten::linear, count as those.
/// @param name    "aten::mm"
/// @param inputs  of its schema
std::optional<std::int64_t> multiply_adds(std::string_view name, c10::ArrayRef<const c10::IValue> inputs);

}  // namespace casdm
