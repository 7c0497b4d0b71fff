#pragma once

namespace casdm::testing {

/// Whether this is compiled with the address or thread sanitizer. Its library must come before any preloaded one. Its
/// programs are several times slower and keep freed memory, and end when they ask for more than there can be.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kIsSanitized = true;
#elif defined(__has_feature)
inline constexpr bool kIsSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
inline constexpr bool kIsSanitized = false;
#endif

}  // namespace casdm::testing
