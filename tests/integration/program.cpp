#include "integration/program.h"

#include <sys/wait.h>

#include <cstdlib>

#include "framework/support/files.h"
#include "integration/warm_program.h"

namespace casdm::testing {

namespace fs = std::filesystem;

namespace {

Outcome outcome(int status, const fs::path& out, const fs::path& err) {
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(out), read_file(err)};
}

}  // namespace

Outcome shell(const std::string& command_line, const fs::path& folder) {
  const fs::path out = folder / ".stdout";
  const fs::path err = folder / ".stderr";
#ifdef CASDM_FAULTS_LIBRARY
  static WarmProgram warm(CASDM_PROGRAM, CASDM_FAULTS_LIBRARY);
  const std::optional<int> status = warm.run(plain_words(command_line), folder, out, err);
  if (status) return outcome(*status, out, err);
#endif
  const std::string line = "cd '" + folder.string() + "' && PATH='" + fs::path(CASDM_PROGRAM).parent_path().string() +
                           "':$PATH && { " + command_line + "\n} > '" + out.string() + "' 2> '" + err.string() + "'";
  return outcome(std::system(line.c_str()), out, err);
}

fs::path write_small_config(const fs::path& folder, const std::string& more) {
  const fs::path path = folder / "small.toml";
  write_file(path, R"([run]
name = "small"
device = "cpu"
threads = 1
[data]
type = "shapes"
image_size = 16
[noise]
type = "cosine"
num_train_timesteps = 100
[head]
type = "cascade"
[head.theta]
type = "unet"
channels = 8
channel_mult = [1, 2]
num_res_blocks = 1
attention_resolutions = [8]
groups = 4
[head.phi]
type = "unet"
channels = 8
channel_mult = [1, 2]
num_res_blocks = 1
attention_resolutions = [8]
groups = 4
[[metrics]]
type = "l1"
[sampler]
type = "ddim"
num_inference_steps = 4
[train]
batch_size = 4
total_images = 24
[log]
every_images = 8
sample_count = 4
[checkpoint]
every_images = 8
)" + more);
  return path;
}

}  // namespace casdm::testing
