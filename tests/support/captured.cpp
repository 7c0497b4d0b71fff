#include "support/captured.h"

#include <fcntl.h>
#include <unistd.h>

#include <iostream>

#include "framework/support/files.h"
#include "support/components.h"

namespace casdm::testing {

namespace {

/// Redirects stderr into `file` while this object lives.
class Redirected {
 public:
  explicit Redirected(const std::string& file) : kept_(::dup(STDERR_FILENO)) {
    const int captured = ::open(file.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    ::dup2(captured, STDERR_FILENO);
    ::close(captured);
  }
  ~Redirected() {
    std::cerr.flush();
    ::dup2(kept_, STDERR_FILENO);
    ::close(kept_);
  }
  Redirected(const Redirected&) = delete;
  Redirected& operator=(const Redirected&) = delete;

 private:
  int kept_;
};

}  // namespace

std::string stderr_of(const std::function<void()>& work) {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "stderr").string();
  {
    const Redirected redirected(file);
    work();
  }
  return read_file(file);
}

}  // namespace casdm::testing
