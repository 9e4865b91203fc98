// Pictures with any number of labels each.
#pragma once

#include <mutex>

#include "tools/data/dataset.h"
#include "tools/data/sample_source.h"

namespace tapescope::tasks {

// Labels stand in labels.csv, in the folder or in one folder per split (train, val, test, in their
// usual names): a line per picture, `file,label1;label2`, perhaps with a third field that names its
// split, and a first line `file,labels` or none. Files are named from where the table lies. Without
// a table the folder is one of class folders, and a picture that lies in several of them, as a
// link or a copy, has all their labels.
struct LabelledData {
  DataSplits splits;                            // its classes are the sets of labels that occur
  std::vector<std::string> labels;              // K names: the model's, or sorted
  std::vector<std::vector<std::int64_t>> sets;  // by class of `splits`: positions in `labels`
};

// Whether there is a table of labels.
bool has_label_table(const std::filesystem::path& folder);

// `labels`: those of a trained model, in its order; empty: those found. Splits are made and kept as
// open_data's are. Throws usage errors that name file and line: a table that cannot be read, a
// picture that is not there or leads outside of the folder, a label that the model does not know,
// fewer than two labels.
LabelledData open_labelled(const std::filesystem::path& folder, const DataOptions& options,
                           const std::vector<std::string>& labels, bool allow_outside);

// "image" f32 {H,W,C} and "labels" f32 {K}: 1 where the picture has the label, else 0.
class LabelSource final : public SampleSource {
 public:
  // `sets` as LabelledData has them, over K labels; `room` as ImageSource has it.
  LabelSource(std::shared_ptr<const Dataset> data, Pipeline pipeline,
              std::vector<std::vector<std::int64_t>> sets, std::int64_t labels,
              std::shared_ptr<PictureRoom> room = nullptr);
  std::int64_t size() const override { return images_.size(); }
  std::vector<std::pair<std::string, Type>> types() const override;
  void load(std::int64_t index, const Pipeline::Key& key,
            std::span<void* const> rows) const override;
  bool repeats() const override { return images_.repeats(); }

 private:
  std::shared_ptr<const Dataset> data_;
  ImageSource images_;
  std::vector<std::vector<std::int64_t>> sets_;
  std::int64_t labels_;
};

}  // namespace tapescope::tasks
