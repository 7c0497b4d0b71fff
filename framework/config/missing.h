#pragma once

namespace casdm {

/// What happens to a table among a component's options that chooses a component which was not found. It may be kept as
/// it is in an experiment that was resolved before and is used only in part: creating the component fails then.
enum class Missing { refused, kept };

}  // namespace casdm
