#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace casdm {

/// The names that are filled into a template.
struct PluginNames {
  std::string kind;        ///< an interface's kind: "metric_loss"
  std::string name;        ///< plugin, component and folder: "huber_fft"
  std::string class_stem;  ///< of the classes: "HuberFft", without the template's suffix ("Loss")
};

/// `kind` may be a kind or its short form: metric, head, noise. Throws ConfigError if there is no such kind, or if
/// `name` is not a snake_case identifier that can name a C++ class and a CMake target.
PluginNames plugin_names(std::string_view kind, std::string_view name);

/// `text` with the template's placeholders (template_kind, template_name, TemplateName) filled in.
std::string filled_in(std::string text, const PluginNames& names);

/// Writes the starting tree of a plugin into the new folder `folder`, from the templates in `templates`: one folder per
/// kind, `common`, and `standalone` for kinds that no experiment uses. Throws ConfigError if `folder` exists, Error if
/// a file cannot be read or written.
void write_plugin_tree(const std::filesystem::path& templates, const PluginNames& names,
                       const std::filesystem::path& folder);

/// `casdm plugins new`: takes the arguments after `new`, returns the exit status.
int plugins_new_command(const std::vector<std::string>& arguments);

}  // namespace casdm
