#pragma once

#include <functional>
#include <memory>
#include <string>

#include "casdm/api.h"
#include "casdm/text.h"

/// Messages from a component to the user while it works. The lines go to stderr, above the progress display where there
/// is one; without a host, as in a plugin's own test, they go to stderr too.
///
///     class MyLoss : public casdm::MetricLoss {
///       casdm::Log log_{"my_loss"};
///       ...
///       log_.info("the network has ", count, " weights");                  // my_loss: the network has 512 weights
///       log_.warning_once("images of ", size, " pixels are enlarged");     // warning: my_loss: images of ...
///
/// Control characters are escaped; text that comes from a file or a user is shown by `quoted` of casdm/text.h. Any
/// thread may write. For numbers to be recorded, return statistics from the head instead.
namespace casdm CASDM_API {

enum class LogLevel { info, warning };

struct LogLine {
  LogLevel level = LogLevel::info;
  std::string component;
  std::string message;
};

/// "warning: my_loss: message": escaped, the lines of a message after its first indented, without a newline at the end.
std::string to_string(const LogLine& line);

class Log {
 public:
  /// @param component  the name that stands before each line
  explicit Log(std::string component);

  /// The arguments are written one after another, as by `text` of casdm/text.h.
  template <class... Parts>
  void info(const Parts&... parts) const {
    write(LogLevel::info, text(parts...));
  }
  template <class... Parts>
  void warning(const Parts&... parts) const {
    write(LogLevel::warning, text(parts...));
  }

  /// The same, unless this Log or a copy of it has written the same message before.
  template <class... Parts>
  void info_once(const Parts&... parts) const {
    write_once(LogLevel::info, text(parts...));
  }
  template <class... Parts>
  void warning_once(const Parts&... parts) const {
    write_once(LogLevel::warning, text(parts...));
  }

 private:
  struct Seen;

  void write(LogLevel level, std::string message) const;
  void write_once(LogLevel level, std::string message) const;

  std::string component_;
  std::shared_ptr<Seen> seen_;
};

using LogSink = std::function<void(const LogLine&)>;

/// For the host: where lines go from now on; an empty one is stderr. It is called by one thread at a time and must not
/// write to a Log. Returns the sink before.
LogSink set_log_sink(LogSink sink);

}  // namespace casdm
