#include "tools/monitoring/journal.h"

#include <algorithm>

#include "tools/files/text.h"
#include "tools/report/png.h"

namespace tapescope::monitoring {
namespace {

// So many times per training at most are activation functions measured, histograms written and
// watched images explained: however many epochs there are, it costs about the same share.
constexpr std::int64_t kLooks = 25;

bool is_look(std::int64_t epoch, std::int64_t epochs) {
  const std::int64_t every = std::max<std::int64_t>(1, epochs / kLooks);
  return epoch % every == 0 || epoch == 1 || epoch == epochs;
}

// " (heat map loss 0.81, box loss 0.43, positives 12.1)"
std::string in_brackets(const std::vector<NamedNumber>& terms) {
  std::string text;
  for (const NamedNumber& term : terms) {
    text += fmt::format("{}{} {:.3g}", text.empty() ? "" : ", ", spaced(term.name), term.value);
  }
  return text.empty() ? "" : " (" + text + ")";
}

}  // namespace

Journal::Journal(JournalOptions options, const Module& model, ProgressLine& out)
    : options_(std::move(options)),
      model_(model),
      out_(out),
      history_(options_.run, options_.resume, options_.first_step, options_.first_epoch),
      began_(std::chrono::steady_clock::now()) {
  if (options_.tensorboard) events_.emplace(options_.run / "tensorboard");
  history_.add(options_.start);
  mind_files();
}

void Journal::step(const StepRecord& r) {
  history_.add(r);
  if (events_) {
    events_->scalar("step/loss", r.step, r.loss);
    events_->scalar("step/learning_rate", r.step, r.learning_rate);
    events_->scalar("step/gradient_norm", r.step, r.gradient_norm);
    events_->scalar("step/images_per_second", r.step, r.images_per_second);
    for (const NamedNumber& term : r.terms) {
      events_->scalar("step/" + term.name, r.step, term.value);
    }
  }
  mind_files();
}

void Journal::tick(const Progress& progress, double loss, const std::vector<NamedNumber>& terms) {
  const auto now = std::chrono::steady_clock::now();
  if (now - shown_ < std::chrono::milliseconds(100)) return;
  shown_ = now;
  const double elapsed = std::chrono::duration<double>(now - began_).count();
  const auto steps = static_cast<double>(options_.start.steps);
  const auto done = static_cast<double>(progress.step);
  const double a_second = (done - static_cast<double>(options_.first_step)) / elapsed;
  // The task's terms last: they are what a narrow terminal can do without.
  out_.update(fmt::format(
      "epoch {}/{} {} {:>3.0f} %  loss {:.4f}{}  {:.0f} images/s  {} left{}", progress.epoch + 1,
      options_.start.epochs, progress_bar(done / steps), 100 * done / steps, loss,
      score_ >= 0 ? fmt::format("  {} {:.1f} %", options_.start.score, 100 * score_) : "",
      a_second * static_cast<double>(options_.start.batch_size),
      clock_text((steps - done) / a_second), in_brackets(terms)));
}

void Journal::statistics(const StatisticsRecord& r) {
  history_.add(r);
  statistics_ += r.seconds;
  if (!events_) return;
  for (std::size_t i = 0; i < options_.start.parameters.size() && i < r.update.size(); ++i) {
    if (!(r.weight[i] > 0)) continue;
    events_->scalar("update_to_weight/" + options_.start.parameters[i], r.step,
                    r.update[i] / r.weight[i]);
  }
}

void Journal::epoch(const EpochRecord& r) {
  history_.add(r);
  std::string text = fmt::format("epoch {}/{}  loss {:.4f}{}", r.epoch, options_.start.epochs,
                                 r.train_loss, in_brackets(r.terms));
  if (r.validated) {
    text += fmt::format("  validation loss {:.4f} {} {:.2f} %{}", r.validation_loss,
                        options_.start.score, 100 * r.validation_score, r.best ? " (best)" : "");
    score_ = r.validation_score;
  }
  out_.line(text + fmt::format("  {:.0f} images/s  {:.1f} s", r.images_per_second, r.seconds));
  if (events_) {
    events_->scalar("epoch/train_loss", r.step, r.train_loss);
    for (const NamedNumber& term : r.terms) {
      events_->scalar("epoch/train_" + term.name, r.step, term.value);
    }
    if (r.validated) {
      events_->scalar("epoch/validation_loss", r.step, r.validation_loss);
      events_->scalar("epoch/validation_" + options_.start.score, r.step, r.validation_score);
    }
  }
  seconds_ += r.seconds;
  images_ += r.images_per_second * r.seconds;
  data_wait_ += r.data_wait_seconds;
  if (!is_look(r.epoch, options_.start.epochs)) return;
  if (options_.probe) pulse(r);
  if (events_) histograms(r.step);
  if (options_.watch) watch(r);
  mind_files();
}

void Journal::watch(const EpochRecord& r) {
  std::vector<WatchPoint> points;
  try {
    points = options_.watch->look(r.epoch);
  } catch (const Error& error) {
    out_.line(fmt::format("the watched images are not explained after epoch {}: {}", r.epoch,
                          error.what()));
    return;
  }
  history_.add(r.step, points);
  for (const WatchPoint& point : points) {
    if (!events_) break;
    const Image image = options_.watch->picture_of(point);
    events_->image("watch/" + point.image + "/" + point.method, r.step, image.height, image.width,
                   image.channels, encode_png(image));
  }
}

void Journal::pulse(const EpochRecord& r) {
  const PulsePoint point{r.step, r.epoch, options_.probe->measure(options_.probe_images)};
  if (point.pulse.activations.empty() && point.pulse.norms.empty()) return;
  history_.add(point);
  if (!events_) return;
  for (const inspection::PulseRow& row : point.pulse.activations) {
    events_->scalar("dead_units/" + row.path, r.step, row.dead);
    events_->scalar("zero_fraction/" + row.path, r.step, row.zero_fraction);
  }
}

void Journal::histograms(std::int64_t step) {
  for (const ParameterRef& parameter : model_.trained_parameters()) {
    if (parameter->value.dtype() != DType::f32) continue;
    const Tensor host = parameter->value.host();
    events_->histogram("parameters/" + parameter->name, step, host.values<float>());
  }
}

void Journal::failed(const Progress& progress, const std::string& sentence) {
  history_.add_failure(progress.step + 1, progress.epoch + 1, sentence);
  finish();
}

void Journal::mind(AppendFile& file, bool& told) {
  if ((file.missing() > 0) == told) return;
  told = !told;
  const std::string name = printable(file.path().string());
  out_.line(told ? fmt::format("'{}' cannot be written ({}); the training goes on, what is missing "
                               "is kept and tried again",
                               name, file.cause())
                 : fmt::format("'{}' can be written again, and nothing of it is missing", name));
}

void Journal::mind_files() {
  mind(history_.file(), history_told_);
  if (events_) mind(events_->file(), events_told_);
}

void Journal::flush() { history_.file().flush(); }

bool Journal::finish() {
  flush();
  if (events_) events_->file().flush();
  mind_files();
  for (const AppendFile* file : {&history_.file(), events_ ? &events_->file() : nullptr}) {
    if (file == nullptr || file->missing() == 0) continue;
    out_.line(fmt::format("{} records of '{}' are missing: it could not be written ({})",
                          file->missing(), printable(file->path().string()), file->cause()));
  }
  return history_.file().missing() == 0;
}

}  // namespace tapescope::monitoring
