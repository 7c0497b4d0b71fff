#include <algorithm>
#include <iostream>
#include <optional>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/commands/commands.h"
#include "framework/commands/evaluate_arguments.h"
#include "framework/commands/nearest_search.h"
#include "framework/device/device.h"
#include "framework/device/heap.h"
#include "framework/device/threads.h"
#include "framework/distributed/run_in_world.h"
#include "framework/evaluation/drawn_images.h"
#include "framework/evaluation/evaluation_file.h"
#include "framework/evaluation/evaluation_setup.h"
#include "framework/evaluation/judged_checkpoint.h"
#include "framework/evaluation/nearest_images.h"
#include "framework/evaluation/record.h"
#include "framework/evaluation/reference.h"
#include "framework/evaluation/reference_writer.h"
#include "framework/sampling/shared_sampling.h"
#include "framework/support/exception_message.h"
#include "framework/support/sealed_json.h"
#include "framework/training/signals.h"

namespace casdm {

namespace {

namespace fs = std::filesystem;

class Command {
 public:
  Command(EvaluateArguments& a, World& world) : a_(a), world_(world), setup_(setup_request(a)) {
    check_options(a, setup_.checkpoint().has_value());
    const std::int64_t asked = world.threads(setup_.threads());
    threads_.emplace(asked > 0 ? asked : CpuThreads(0).count());
    RunOptions run;
    run.device = a.device.value_or("auto");
    const SelectedDevice selected = select_device(run);
    device_ = selected.device;
    device_name_ = selected.name;
  }

  void run() {
    find_images();
    judges_.emplace(setup_.options(), setup_.host(), *setup_.shape(), device_);
    num_ = !a_.what.empty() ? number() : 0;
    if (!a_.write_reference.empty()) require_reference_form(a_.write_reference, *judges_);
    prepare_nearest();
    std::cerr << "device: " << device_name_ << '\n';
    find_reference();
    find_floor();
    if (nearest_) {
      nearest_->set_reference(reference_stream_, numbers_in_data(*stored_reference_, reference_indices_),
                              reference_.sha256);
    }
    if (num_ > 0) judges_->require_enough(num_, reference_.images);
    if (!a_.write_reference.empty()) write_reference(a_.write_reference, reference_, *judges_, reference_stream_);
    try {
      if (setup_.checkpoint()) judge_run();
      if (images_) judge_images();
      if (a_.floor) judge_halves();
      if (!a_.held_out.empty()) judge_held_out();
    } catch (...) {
      if (!records_.empty()) print();  // what has been judged may have taken hours
      throw;
    }
    print();
    if (!not_saved_.empty()) throw Error(text("the scores above could not be saved: ", not_saved_));
  }

 private:
  static SetupRequest setup_request(const EvaluateArguments& a) {
    return {a.what, a.reference, a.held_out, a.config, a.overrides, {a.plugins.begin(), a.plugins.end()}, a.size};
  }

  ReferenceOptions reference_options() const { return {interrupted, !a_.no_cache, a_.overwrite}; }

  /// Opens the images whose size is known first, so that the others can be opened at that size.
  void find_images() {
    const bool is_stored = !a_.what.empty() && !setup_.checkpoint();
    if (is_stored && !is_of_any_size(a_.what)) images_ = setup_.open(a_.what);
    if (!a_.reference.empty() && !is_reference_file(a_.reference)) stored_reference_ = setup_.open(a_.reference);
    if (a_.reference.empty() && !setup_.checkpoint()) {
      throw ConfigError("evaluate: --reference is missing: images or a file to compare with");
    }
    if (is_stored && !images_) images_ = setup_.open(a_.what);
    if (!setup_.shape()) {
      throw ConfigError("evaluate: --size is missing: the side in pixels that the images have or are resized to");
    }
  }

  std::int64_t number() const {
    if (setup_.checkpoint()) return a_.num.value_or(setup_.options().num);
    return a_.num.value_or(images_->size());
  }

  void find_reference() {
    if (!a_.reference.empty() && !stored_reference_) return take_file(a_.reference);
    std::string name = a_.reference.empty() ? setup_.own_data_name() : a_.reference;
    std::vector<std::string> remarks;
    bool is_own_data = false;
    if (!stored_reference_) {
      if (const std::string own = setup_.options().reference.string(); !own.empty()) {
        if (is_reference_file(own)) return take_file(own);
        stored_reference_ = setup_.open(own);
        name = own;
      } else {
        stored_reference_ = setup_.own_data(remarks);
        is_own_data = true;
      }
    }
    const std::string seen = is_own_data ? "" : setup_.seen_remark(*stored_reference_, name);
    if (!seen.empty()) remarks.push_back(seen);
    reference_indices_ =
        spread(setup_.options().reference_num, stored_reference_->size(), "evaluate.reference_num", name);
    reference_stream_ = stream_of(stored_reference_, reference_indices_, name);
    judges_->require_enough(std::numeric_limits<std::int64_t>::max(), reference_stream_.count);
    reference_ = reference_of_images(reference_stream_, *judges_, reference_options());
    reference_.remarks = std::move(remarks);
  }

  void take_file(const std::string& path) {
    if (!a_.write_reference.empty()) {
      throw ConfigError(text("evaluate: --write-reference saves what it computes from images, but ", path,
                             " is such a file already; copy it, or give --reference IMAGES"));
    }
    reference_ = reference_of_file(path, *judges_, reference_options());
    if (setup_.options().reference_num.value > 0) {
      reference_.remarks.push_back(text("evaluate.reference_num = ", setup_.options().reference_num.value,
                                        " is ignored: the reference is a file, made from its own images"));
    }
  }

  void judge_run() {
    try {
      judge_samples();
    } catch (const std::exception& error) {
      if (!is_out_of_memory(error)) throw;
      const std::int64_t batch = a_.batch.value_or(SamplingRequest::kBatch);
      throw OutOfMemory(text(exception_message(error), ". ",
                             batch > 1 ? text("A smaller --batch than ", batch, " needs less to draw samples. ") : "",
                             "Judges take 64 images at a time, whatever --batch is: smaller features need less"));
    }
  }

  void judge_samples() {
    std::vector<std::string> remarks;
    const TrainedWith trained_with = setup_.trained_with(*judges_, remarks);
    const std::vector<SamplingRequest> all = sampling_requests(a_, setup_.options(), setup_.sampling_overrides());
    if (all.size() > 1 && !(a_.out.empty() && a_.state.empty())) {
      throw ConfigError(
          "evaluate: --out and --state are for one evaluation; leave them out, or give only one value for "
          "--weights, --guidance and --steps");
    }
    // A mistake in the last value of a list must not cost the hours that the others take.
    for (std::size_t i = 0; i < all.size() && all.size() > 1; ++i) {
      require_shape(DrawnImages(*setup_.checkpoint(), all[i], num_, world_));
    }
    for (const SamplingRequest& request : all) {
      DrawnImages images(*setup_.checkpoint(), request, num_, world_);
      require_shape(images);
      if (!is_in_place()) {
        throw Error(
            text("evaluate: ", moved_away(), ", so it cannot be judged with the weights ", quoted(request.weights)));
      }
      if (!a_.out.empty()) {
        const std::string remark = images.keep_in(a_.out, a_.overwrite);
        if (!remark.empty()) std::cerr << remark << '\n';
      }
      const EvaluationFile file(setup_.run_folder(), images, num_, reference_, *judges_);
      // The last bits of the scores depend on the number of threads.
      if (const std::int64_t earlier = file.earlier_threads(); earlier > 0 && setup_.threads() == 0) {
        threads_.emplace(earlier);
      }
      const ImageStream stream = images.stream(a_.what, *threads_);
      if (nearest_) nearest_->find_of_run(images, stream, file, [&] { return is_kept("the nearest images are"); });
      if (std::optional<Value> known = a_.overwrite || !a_.out.empty() ? std::nullopt : file.read()) {
        std::cerr << "already evaluated: " << file.path().string() << '\n';
        std::error_code ignored;
        fs::remove(file.state(), ignored);  // left behind if the process was killed
        known->set("name", a_.what);        // the run may have been renamed
        if (Value* run = known->find("run"); run != nullptr && run->is_table()) run->set("path", a_.what);
        std::erase_if(known->as_table(), [](const Value::Member& member) { return member.first == "sha256"; });
        records_.push_back(sealed(std::move(*known)));
        continue;
      }
      GatherOptions gathering;
      gathering.title = text("judging ", request.weights);
      gathering.is_cancelled = [&] { return images.is_cancelled(); };
      gathering.state_file = a_.state.empty() ? file.state() : fs::path(a_.state);
      const JudgedSet set = gather(stream, *judges_, gathering);
      images.finish();
      std::vector<std::string> own_remarks = remarks;
      if (const std::string warning = warning_of(images.settings()); !warning.empty()) own_remarks.push_back(warning);
      records_.push_back(record_of({"run", a_.what, file.run_table(a_.what, images)}, set, reference_, *judges_,
                                   trained_with, own_remarks, setup_.host()));
      keep(file, gathering.state_file);
    }
  }

  /// Only samples of the shape of the run's own can be compared with its reference.
  void require_shape(const DrawnImages& images) const {
    const ImageShape own = *setup_.shape(), drawn = images.shape();
    if (drawn == own) return;
    throw ConfigError(text("evaluate: samples of ", drawn.height, " px and ", drawn.channels,
                           " channels cannot be compared with images of ", own.height, " px and ", own.channels,
                           "; leave data.image_size and data.channels as they are in the run"));
  }

  /// Whether the run still has the checkpoint that is judged.
  bool is_in_place() const { return files_sha256(setup_.checkpoint()->path()) == setup_.checkpoint()->files_sha256(); }

  std::string moved_away() const {
    return text(setup_.checkpoint()->path().string(),
                " is no longer what it was: the run went back to an earlier checkpoint, or was moved or replaced");
  }

  /// The same; if not, says that `what` is not kept.
  bool is_kept(const std::string& what) const {
    if (is_in_place()) return true;
    std::cerr << "warning: " << what << " not kept: " << moved_away() << '\n';
    return false;
  }

  /// Writes the last record into the run's folder. False if that fails; the rest is judged nevertheless.
  bool save(const std::function<void()>& write) {
    if (setup_.checkpoint() && !is_kept("these scores are")) return true;
    try {
      write();
    } catch (const Error& error) {
      if (not_saved_.empty()) not_saved_ = error.what();
      return false;
    }
    return true;
  }

  /// Without a record the state, if there is one, still spares the same command most of the judging.
  void keep(const EvaluationFile& file, const fs::path& state) {
    if (!save([&] { file.write(records_.back()); })) return;
    std::error_code ignored;
    if (!state.empty()) fs::remove(state, ignored);
  }

  /// Refuses what cannot be searched, which must not be found out after hours of judging.
  void prepare_nearest() {
    if (!a_.nearest) return;
    const std::string reference = a_.reference.empty() ? setup_.options().reference.string() : a_.reference;
    if (!reference.empty() && !stored_reference_ && is_reference_file(reference)) {
      throw ConfigError(
          "evaluate: --nearest looks through the images of the reference, and this reference is a file of "
          "statistics; give images as the reference");
    }
    nearest_.emplace(a_, *judges_, setup_.host(), device_);
  }

  void judge_images() {
    const std::vector<std::int64_t> indices = spread(num_, images_->size(), "--num", a_.what);
    const ImageStream stream = stream_of(images_, indices, a_.what);
    if (nearest_) nearest_->find(stream, numbers_in_data(*images_, indices));
    GatherOptions gathering;
    gathering.title = "judging";
    gathering.is_cancelled = interrupted;
    gathering.state_file = a_.state;
    const JudgedSet set = gather(stream, *judges_, gathering);
    std::vector<std::string> remarks;
    if (stored_reference_ && are_same(*images_, *stored_reference_)) {
      remarks.emplace_back("these are the images of the reference, so the scores say nothing about other images");
    }
    records_.push_back(
        record_of({"images", a_.what, std::nullopt}, set, reference_, *judges_, {}, remarks, setup_.host()));
    std::error_code ignored;
    if (!a_.state.empty()) fs::remove(a_.state, ignored);
  }

  void find_floor() {
    if (a_.floor && !stored_reference_) {
      throw ConfigError(
          "evaluate: --floor takes two halves of the reference's images, and this reference is a file of "
          "statistics; give --held-out IMAGES, or images as the reference");
    }
    if (a_.floor) {
      const std::int64_t half = stored_reference_->size() / 2;
      require_enough("--floor, half of the reference", half, std::min(half, reference_.images));
    }
    if (a_.held_out.empty()) return;
    held_out_ = setup_.open(a_.held_out);
    require_enough("--held-out " + a_.held_out, held_out_->size(), reference_.images);
    if (!stored_reference_ || !are_same(*held_out_, *stored_reference_)) return;
    throw ConfigError(text("evaluate: --held-out ", a_.held_out,
                           ": these are the images of the reference; give images that are not in it, or use --floor"));
  }

  /// Of `available` real images, as many are judged as of the model's.
  void require_enough(const std::string& what, std::int64_t available, std::int64_t reference) const {
    try {
      judges_->require_enough(num_ > 0 ? std::min(num_, available) : available, reference);
    } catch (const ConfigError& error) {
      throw ConfigError(text(what, ": ", error.what()));
    }
  }

  void judge_halves() {
    const auto [one, other] = halves(stored_reference_->size(), static_cast<std::uint64_t>(setup_.options().seed));
    const auto half = static_cast<std::int64_t>(one.size());
    // If possible, the same numbers of images as the model is judged with, since both bias the scores.
    const auto some = [&](const std::vector<std::int64_t>& indices, std::int64_t count) {
      std::vector<std::int64_t> chosen;
      for (const std::int64_t i : spread(count > 0 ? std::min(count, half) : half, half, "", "")) {
        chosen.push_back(indices[static_cast<std::size_t>(i)]);
      }
      judges_->require_enough(static_cast<std::int64_t>(chosen.size()), 0);
      return reference_of_images(stream_of(stored_reference_, chosen, reference_.name), *judges_, reference_options());
    };
    const Reference judged = some(one, num_);
    Reference against = some(other, reference_.images);
    against.remarks = reference_.remarks;
    add_floor(judged, against);
  }

  void judge_held_out() {
    const std::int64_t total = held_out_->size(), count = num_ > 0 ? std::min(num_, total) : total;
    const Reference judged = reference_of_images(stream_of(held_out_, spread(count, total, "", ""), a_.held_out),
                                                 *judges_, reference_options());
    add_floor(judged, reference_);
  }

  void add_floor(const Reference& judged, const Reference& against) {
    const JudgedSet set{judged.state, 0, false};
    records_.push_back(record_of({"floor", judged.name, std::nullopt}, set, against, *judges_, {}, {}, setup_.host()));
    save([&] { keep_floor(setup_.run_folder(), records_.back()); });
  }

  void print() const {
    const std::vector<Value> found = nearest_ ? nearest_->found() : std::vector<Value>();
    if (a_.json) {
      Value result{Value::Table{}};
      result.set("evaluations", Value::Array(records_.begin(), records_.end()));
      if (nearest_) result.set("nearest", Value::Array(found.begin(), found.end()));
      std::cout << to_json(result, 1) << '\n';
      return;
    }
    if (!records_.empty()) std::cout << printable(table_of(records_));
    for (const Value& result : found) std::cout << '\n' << printable(nearest_table(result));
    if (records_.empty() && found.empty()) std::cout << a_.write_reference << '\n';
  }

  EvaluateArguments& a_;
  World& world_;
  EvaluationSetup setup_;
  std::optional<CpuThreads> threads_;
  c10::Device device_ = c10::Device(c10::kCPU);
  std::string device_name_;
  std::shared_ptr<StoredImages> images_;
  std::shared_ptr<StoredImages> stored_reference_;
  std::shared_ptr<StoredImages> held_out_;
  std::optional<Judges> judges_;
  std::int64_t num_ = 0;
  ImageStream reference_stream_;
  Reference reference_;
  std::vector<std::int64_t> reference_indices_;  ///< the index of each image of reference_stream_ in its data set
  std::vector<Value> records_;
  std::string not_saved_;  ///< why records could not be written; empty: they are
  std::optional<NearestSearch> nearest_;
};

int evaluate_command(const std::vector<std::string>& arguments) {
  EvaluateArguments a;
  if (!fill_evaluate_arguments(a, arguments)) return 0;
  catch_signals();
  keep_freed_memory();
  return run_in_world(
      "evaluate",
      [&](World& world) {
        if (!world.is_first()) return help_sampling(world), 0;
        return world.on_first([&] { Command(a, world).run(); }), 0;
      },
      interrupted);
}

}  // namespace

}  // namespace casdm

int casdm_evaluate_command(const std::vector<std::string>& arguments) { return casdm::evaluate_command(arguments); }
