#include "framework/loading/find_plugins.h"

#include <iostream>

#include "framework/loading/lock.h"

namespace casdm {

std::shared_ptr<PluginHost> find_plugins(const Value& document,
                                         const std::vector<std::filesystem::path>& plugin_files) {
  SearchPaths search;
  search.files = plugin_files;
  search.config = plugin_paths(document);
  auto host = std::make_shared<PluginHost>(PluginCatalog::discover(search), lock_in(document));
  host->catalog().require_files();
  for (const std::string& warning : host->catalog().warnings()) std::cerr << "warning: " << warning << '\n';
  return host;
}

}  // namespace casdm
