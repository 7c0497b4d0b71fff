#pragma once

/// Marks a namespace block of a header whose classes and functions other libraries may use:
///
///     namespace casdm CASDM_API {
///
/// The libraries of the SDK and all plugins are compiled with hidden visibility; what no such header declares stays
/// inside its library.
#define CASDM_API __attribute__((visibility("default")))
