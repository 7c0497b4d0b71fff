#include "framework/host/framework_library.h"

#include <boost/dll/runtime_symbol_info.hpp>
#include <boost/dll/shared_library.hpp>
#include <filesystem>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

int run_in_framework(const char* symbol, const std::vector<std::string>& arguments) {
  namespace dll = boost::dll;
  const std::filesystem::path library = dll::this_line_location().parent_path() / "libcasdm_framework.so";
  // Global, as a program linked to it would have it; never closed.
  static const auto* framework = [&] {
    try {
      return new dll::shared_library(library, dll::load_mode::rtld_now | dll::load_mode::rtld_global);
    } catch (const std::exception& error) {
      throw Error(text(library.string(), " cannot be loaded: ", error.what()));
    }
  }();
  return framework->get<int(const std::vector<std::string>&)>(symbol)(arguments);
}

}  // namespace casdm
