#pragma once

#include <string>
#include <string_view>

namespace casdm {

/// The stamp of this host; see casdm/stamp.h.
const char* host_stamp();

/// The fields in which a plugin's stamp and the host's differ in a way that matters, as a table (field, plugin, host,
/// rule) with advice; empty if there are none. Build type and CUDA do not matter: they do not affect the classes of the
/// interface.
std::string compare_stamps(std::string_view plugin, std::string_view host);

}  // namespace casdm
