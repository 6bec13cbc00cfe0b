//! Owns bare weights as bytes: safetensors, with the names and layout of PyTorch's `nn.Linear`.
//!
//! Layer `i` is the tensors `layers.i.weight` (outputs x inputs) and `layers.i.bias` (outputs), all `F32`. Digests are
//! taken of these bytes. A model with its form has its own: see `Model::to_safetensors`.

use super::error::ModelError;
use super::files::{arrays, safetensors};
use super::mlp::Mlp;
use crate::types::Digest;

impl Mlp<f32> {
    /// The weights as the bytes of a safetensors file, with a text that tells of them or without; the same weights and
    /// text give the same bytes.
    pub fn to_safetensors(&self, text: Option<&str>) -> Vec<u8> {
        safetensors::encode(&arrays::of_weights(self), text)
    }

    /// Reads weights and the text that tells of them; `None` if the file has none of ours.
    ///
    /// # Errors
    /// Names what is wrong with the bytes: not safetensors, another element type, a tensor missing or too many,
    /// shapes that do not chain or are out of range, a weight that is not finite.
    pub fn from_safetensors(bytes: &[u8]) -> Result<(Self, Option<String>), ModelError> {
        let (arrays, text) = safetensors::decode(bytes)?;
        Ok((arrays::to_weights(&arrays)?, text))
    }

    /// The SHA-256 of the encoding without text: the identity of the weights.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_safetensors(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Shape;
    use ::safetensors::tensor::{TensorView, serialize};
    use ::safetensors::{Dtype, SafeTensors};
    use proptest::prelude::*;

    fn model() -> Mlp<f32> {
        Mlp::init(&Shape::new([3, 4, 2]).unwrap(), 7)
    }

    fn file(tensors: &[(&str, Dtype, &[usize])]) -> Vec<u8> {
        let zeros = vec![0; 4096];
        let views = tensors.iter().map(|&(name, dtype, shape)| {
            let length = shape.iter().product::<usize>() * dtype.bitsize() / 8;
            (name.to_owned(), TensorView::new(dtype, shape.to_vec(), &zeros[..length]).unwrap())
        });
        serialize(views, None).unwrap()
    }

    fn refusal(bytes: &[u8]) -> String {
        Mlp::from_safetensors(bytes).unwrap_err().to_string()
    }

    #[test]
    fn bytes_read_back_and_are_the_same_every_time() {
        let text = "{\"classes\": [\"A\\\"\", \"ß\"]}";
        let bytes = model().to_safetensors(Some(text));
        assert_eq!(bytes, model().to_safetensors(Some(text)));
        assert_eq!(Mlp::from_safetensors(&bytes).unwrap(), (model(), Some(text.to_owned())));
        assert_eq!(Mlp::from_safetensors(&model().to_safetensors(None)).unwrap(), (model(), None));
    }

    #[test]
    fn the_layout_is_that_of_linear_layers() {
        let bytes = model().to_safetensors(Some("{}"));
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let weight = tensors.tensor("layers.1.weight").unwrap();
        assert_eq!(weight.shape(), [2, 4]);
        let third = f32::from_le_bytes(weight.data()[8..12].try_into().unwrap());
        assert_eq!(third, model().layers()[1][[3, 0]], "output 0, input 2");
        assert_eq!(tensors.tensor("layers.0.bias").unwrap().shape(), [4]);
    }

    #[test]
    fn the_digest_is_of_the_weights_alone() {
        assert_eq!(model().digest(), Digest::of(&model().to_safetensors(None)));
        let zero = Mlp::<f32>::zeros(&Shape::new([1, 1]).unwrap());
        // Recorded from this implementation: it must never change, as stored models are named by it.
        assert_eq!(zero.digest().short(), "00927eb3");
    }

    #[test]
    fn wrong_tensors_are_named() {
        use Dtype::{F16, F32, F64};
        let w = ("layers.0.weight", F32, &[4, 3][..]);
        let b = ("layers.0.bias", F32, &[4][..]);
        assert!(Mlp::from_safetensors(&file(&[w, b])).is_ok());
        let cases: [(&[_], &str); 9] = [
            (&[w], "1 tensors"),
            (&[w, ("layers.0.biases", F32, &[4])], "no tensor `layers.0.bias`"),
            (&[("layers.0.weight", F16, &[4, 3]), b], "`layers.0.weight` is of type F16"),
            (&[w, ("layers.0.bias", F64, &[4])], "`layers.0.bias` is of type F64"),
            (&[w, ("layers.0.bias", F32, &[5])], "5 biases for 4 outputs"),
            (&[("layers.0.weight", F32, &[12]), b], "weight of shape [12]"),
            (&[("layers.0.weight", F32, &[4, 0]), b], "layer size 0 is 0"),
            (&[w, b, ("layers.1.weight", F32, &[2, 5]), ("layers.1.bias", F32, &[2])], "layer 1 takes 5 inputs"),
            (&[], "0 tensors"),
        ];
        for (tensors, part) in cases {
            let says = refusal(&file(tensors));
            assert!(says.contains(part), "{says:?} does not say {part:?}");
        }
    }

    #[test]
    fn hostile_bytes_are_refused() {
        let mut nan = model().to_safetensors(None);
        let end = nan.len();
        nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(refusal(&nan).contains("weight 3,1 of layer 1 is NaN"));
        assert!(refusal(b"").contains("0 bytes are too few"));
        assert!(refusal(&u64::MAX.to_le_bytes()).contains("a header of 18446744073709551615 bytes"));
        let vast = |offset: u64| {
            let header =
                format!(r#"{{"a":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{offset}]}}}}"#, offset / 4);
            [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()
        };
        assert!(refusal(&vast(1 << 60)).contains("beyond the end"));
        assert!(refusal(&vast(u64::MAX)).contains("beyond the end"));
        let mut short = model().to_safetensors(None);
        short.pop();
        assert!(refusal(&short).contains("not a model"));
    }

    proptest! {
        #[test]
        fn no_change_of_bytes_panics(at in 0_usize..600, to: u8, cut in 0_usize..600) {
            let mut bytes = model().to_safetensors(Some("{}"));
            let length = bytes.len();
            bytes[at % length] = to;
            let _ = Mlp::from_safetensors(&bytes);
            let _ = Mlp::from_safetensors(&bytes[..cut.min(length)]);
        }
    }
}
