// Labelled pictures, and opening a folder of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tools/data/image.h"
#include "tools/data/split_record.h"

namespace tapescope {

// A fixed list of (picture, label). All members may be called from several threads.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual std::int64_t size() const = 0;
  // Names by label.
  virtual const std::vector<std::string>& classes() const = 0;
  // In [0, classes().size()).
  virtual std::int64_t label(std::int64_t index) const = 0;
  // The file, or the place in a file ("t10k-images-idx3-ubyte.gz[12]").
  virtual std::string name(std::int64_t index) const = 0;
  // Decoded; the pixels live as long as the view and the data set do. Throws a usage error that
  // names the file where it cannot be read.
  virtual ImageView image(std::int64_t index) const = 0;
  // 1 or 3: the same for every picture.
  virtual int channels() const = 0;
  // As stored; nothing is decoded where a header tells.
  virtual ImageSize image_size(std::int64_t index) const;
  // What the picture is known by, whatever its name. Of the decoded pixels where a data set does
  // not know better.
  virtual PictureContent content(std::int64_t index) const;
};

// Some samples of data sets of the same classes, in this order.
class Subset : public Dataset {
 public:
  using Sample = std::pair<std::shared_ptr<const Dataset>, std::int64_t>;
  explicit Subset(std::vector<Sample> samples)
      : base_(samples.at(0).first), samples_(std::move(samples)) {}
  Subset(std::shared_ptr<const Dataset> base, const std::vector<std::int64_t>& indices)
      : base_(std::move(base)) {
    for (std::int64_t index : indices) samples_.emplace_back(base_, index);
  }
  std::int64_t size() const override { return static_cast<std::int64_t>(samples_.size()); }
  const std::vector<std::string>& classes() const override { return base_->classes(); }
  std::int64_t label(std::int64_t i) const override { return at(i).first->label(at(i).second); }
  std::string name(std::int64_t i) const override { return at(i).first->name(at(i).second); }
  ImageView image(std::int64_t i) const override { return at(i).first->image(at(i).second); }
  int channels() const override { return base_->channels(); }
  ImageSize image_size(std::int64_t i) const override {
    return at(i).first->image_size(at(i).second);
  }
  PictureContent content(std::int64_t i) const override {
    return at(i).first->content(at(i).second);
  }

 private:
  const Sample& at(std::int64_t i) const { return samples_[static_cast<std::size_t>(i)]; }
  std::shared_ptr<const Dataset> base_;  // of the first one
  std::vector<Sample> samples_;
};

enum class BadImage {
  fail,  // the first picture that cannot be read is an error
  skip,  // it is left out and listed
};

// "fail" or "skip", as --on-bad-image has them; a usage error otherwise.
BadImage bad_image_from(const std::string& option);

enum class Draw {
  content,     // a picture's split is drawn from what it holds: others' arrival moves nothing
  stratified,  // of each class its exact share, by position: how runs were split before
};

struct DataOptions {
  double validation_fraction = 0.1;  // of train, where there is no val/ folder
  double test_fraction = 0.0;        // of everything, for a folder without train/ and test/
  std::int64_t limit = 0;            // training images, validation included, drawn from every
                                     // class alike; 0: all
  std::uint64_t seed = 0;            // chooses the fractions and the limit's images
  // Pictures that are kept in memory: files as they were read until they are decoded and, where
  // `cache_decoded`, decoded ones.
  std::int64_t cache_bytes = std::int64_t{1} << 30;
  bool cache_decoded = true;
  BadImage on_bad_image = BadImage::fail;
  Draw draw = Draw::content;
  // Of the run: what it names stays in its split. What it does not name may join test and nothing
  // else; where `resume` is set, every split, and all changes are told.
  std::shared_ptr<const SplitRecord> record = {};
  bool resume = false;
  // Pictures of more bytes are not read beforehand: known by their heads, seen to be whole when
  // they are first used.
  std::uintmax_t bytes_to_check = std::uintmax_t{8} << 30;
  // Listings and facts of so many pictures or more are kept in the user's cache.
  std::int64_t keep_from = 1000;
  Exif exif = Exif::apply;  // of files of pictures; turned ones are counted in a notice
  int channels = 0;         // 1 or 3 forces; 0: what IDX files hold, 3 for folders of pictures
  // The classes of a trained model, in its order: labels follow it, and a folder may then lack
  // classes. A class it does not know is an error. Empty: sorted names of the class folders.
  std::vector<std::string> classes = {};
  // What else may be done about one: the end of that sentence.
  std::string class_remedy =
      ", or train a model of this list of classes: another --out, and --weights to begin with what "
      "was learnt";
};

struct DataSplits {
  std::shared_ptr<const Dataset> train;       // null where the data has no such split
  std::shared_ptr<const Dataset> validation;  // val/ or a fraction of train
  std::shared_ptr<const Dataset> test;
  std::shared_ptr<const Dataset> unused;  // beyond the limit, or in two splits
  std::vector<std::string> classes;
  std::string kind;  // "folder", "shards" or "idx"
  int channels = 3;
  std::vector<std::string> notices;     // sentences worth a line on the terminal
  std::vector<std::string> bad_images;  // left out under BadImage::skip
  std::vector<std::string> changes;     // since the record was made, under options.resume
  std::vector<RecordedPicture> gone;    // recorded, but not found; likewise
  bool heads = false;                   // contents are known by the files' heads
  std::string path;

  // "train", "validation" or "test". Throws a usage error where the data has no such split.
  std::shared_ptr<const Dataset> split(const std::string& name) const;
};

// Opens a folder; which layout it has is seen from its content:
// * `train/<class>/*` with, if wanted, `test/<class>/*` and `val/<class>/*`, also in their other
//   usual names (layout.h);
// * `<class>/*`, of which options.test_fraction is set aside for test;
// * shards, tar files as shards.h has them, in the folder or in folders named after splits;
// * IDX files: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and `t10k-...`, each also .gz.
// Classes are sorted by name, files by path; hidden files are ignored. Fractions are drawn picture
// by picture from (seed, content), see splits.h. Every file is opened once to see that it is
// whole, so that a broken test picture is reported before hours of training and not after.
// Throws a usage error that says what is wrong and what to do.
DataSplits open_data(const std::filesystem::path& path, const DataOptions& options = {});

// `limit` positions in [0, size), evenly over it, which is sorted by class; all of them where limit
// is 0 or more than there are.
std::vector<std::int64_t> spread(std::int64_t size, std::int64_t limit);

// The indices in [0, labels.size()) split in two, each sorted: of every class a share `fraction`
// (rounded; at least one of two or more and never all) goes to the second list. `purpose` separates
// independent draws from one seed.
struct StratifiedSplit {
  std::vector<std::int64_t> rest;
  std::vector<std::int64_t> chosen;
};
StratifiedSplit stratified_split(const std::vector<std::int64_t>& labels, double fraction,
                                 std::uint64_t seed, const std::string& purpose);

}  // namespace tapescope
