"""What training version 2 took for the hash of networks whose code has not changed since.

A row of an earlier database carries the second hash; as long as a network's own is the first, the two are the same
code, and nothing is trained again. A network that changes leaves this table behind: what it scored before is stale.
"""

# network -> (its hash, the hash of the same code up to training version 2)
FORMER_SOURCES: dict[str, tuple[str, str]] = {
    "fcn32s": (
        "6c3c0c7fdd6a86153fa8e77e98c016e1196e48396cf855c4dff8477b6d964299",
        "3a5a61fdb99ac0c3d80eacab66e122ebf104ba6052eb9b5f909d2b3d19626e1f",
    ),
    "fcn16s": (
        "6c3c0c7fdd6a86153fa8e77e98c016e1196e48396cf855c4dff8477b6d964299",
        "3a5a61fdb99ac0c3d80eacab66e122ebf104ba6052eb9b5f909d2b3d19626e1f",
    ),
    "fcn8s": (
        "6c3c0c7fdd6a86153fa8e77e98c016e1196e48396cf855c4dff8477b6d964299",
        "3a5a61fdb99ac0c3d80eacab66e122ebf104ba6052eb9b5f909d2b3d19626e1f",
    ),
    "unet": (
        "915407a7534c50cb9f5bcddd578e187aa829af88c7b2ed440e73dd78c199901b",
        "a003531667a0442e0701493ee2c709608a75a79e2102d4ba05a2afd15e3a9ecc",
    ),
    "unet_strided": (
        "0f370a69ba7e22b0e18cff0bc931ebad7c7a41714b3029a143ac4d859d9a12f3",
        "21180414087d5a4ca7f094d2a08f0cdd1855bf2270c4cc5b1ece8cac09b7ee23",
    ),
    "unetpp": (
        "ff7b7db84c75b4be862b6134d03fc8f267720e532e07ad46bc612f223ad3ded1",
        "db8eb6e6cf53daf7f3e33fb59da1e3acce07337d4c5b3abfc0b7f0a1fb8be7dc",
    ),
    "segnet": (
        "ceb3d6d2f32fde225d5339634255dfba084af607d4774a6352a81c70411db0ab",
        "8d54f6d2d8bc348a053842b51aa2cd431e45c5437e6bb6ac2b552e727bf05880",
    ),
    "refinenet": (
        "52563040c5ad16a77be67df00f6a9d21c9e9c32013363d053cd906d50616d8f2",
        "2d11252d4f2659ee5e556828dd7fc08d2d07feff6c27bbbaaf02e73a0d1d2674",
    ),
    "pspnet": (
        "e893442a1e9d8d2f159d3067b04f8bb9adb445227ea5c7bfc8d7b89c2908d936",
        "b3026f91104b9eccd6ec8d64997ca6386ed46d647bdbb8f8cdef907ca20ffa37",
    ),
    "deeplabv3": (
        "7bc7c99b421e25c5b3444a13ed5e8c6d0004021b5715b2e1befee404baedbaca",
        "7217476f3bc4ec59409e9a9e2e2247404c7c9e731fc27afdfe36c1f2578440be",
    ),
    "deeplabv3plus": (
        "7bc7c99b421e25c5b3444a13ed5e8c6d0004021b5715b2e1befee404baedbaca",
        "7217476f3bc4ec59409e9a9e2e2247404c7c9e731fc27afdfe36c1f2578440be",
    ),
    "bisenet": (
        "de4392e2076d714f2f190dbcbc9b856573ec555f3492fccc6f30c022bd4a9edd",
        "079de750799647eabd932b43c4c6f11da0f84dd90008dc24236b543bd707a0e5",
    ),
    "emanet": (
        "6176e1c723be165f43e50c57a086fb8093a679c5738cc6848d50016825d1ed13",
        "8725a1ecf39baf26227ee58ec078ff4f3e51fc697a5421dc7a15bac69b63f0e7",
    ),
    "segformer": (
        "cd4af33bcfaa874c1185bafb72320ea0d5a4b5d64971fcd51f0f86a6e3ac681f",
        "c24eaafce2896729f91fda42b46e7dbc47660609327457ec425a98e76a5de159",
    ),
}
