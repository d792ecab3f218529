"""Memory queue descriptors of gfx9 and its SDMA. Generated, do not edit.

Source: Debian linux-source-7.3 7.3.4-1~bpo13+1:
  drivers/gpu/drm/amd/include/v9_structs.h
Made by: .venv/bin/python tools/gen_structs.py (sizes and offsets compared with a C compiler's)
AMD's headers are under the MIT licence: registers/data/NOTICE.md"""

from registers.structs import Struct, Union, each, u32


class v9_mqd_u39_u0(Struct):
    _fields_ = [
        *each(u32, """
            compute_static_thread_mgmt_se4 compute_static_thread_mgmt_se5 compute_static_thread_mgmt_se6
            compute_static_thread_mgmt_se7
        """),
    ]


class v9_mqd_u39_u1(Struct):
    _fields_ = [
        *each(u32, """
            compute_current_logic_xcc_id compute_restart_cg_tg_id compute_tg_chunk_size
            compute_restore_tg_chunk_size
        """),
    ]


class v9_mqd_u39(Union):
    _anonymous_ = ('u0', 'u1')
    _fields_ = [
        ("u0", v9_mqd_u39_u0),
        ("u1", v9_mqd_u39_u1),
    ]


class v9_mqd_u222_u0(Struct):
    _fields_ = [
        ("reserved_225", u32),
        ("reserved_226", u32),
    ]


class v9_mqd_u222_u1(Struct):
    _fields_ = [
        ("pm4_target_xcc_in_xcp", u32),
        ("cp_mqd_stride_size", u32),
    ]


class v9_mqd_u222(Union):
    _anonymous_ = ('u0', 'u1')
    _fields_ = [
        ("u0", v9_mqd_u222_u0),
        ("u1", v9_mqd_u222_u1),
    ]


class v9_mqd(Struct):
    _anonymous_ = ('u39', 'u222')
    _fields_ = [
        *each(u32, """
            header compute_dispatch_initiator compute_dim_x compute_dim_y compute_dim_z compute_start_x
            compute_start_y compute_start_z compute_num_thread_x compute_num_thread_y
            compute_num_thread_z compute_pipelinestat_enable compute_perfcount_enable compute_pgm_lo
            compute_pgm_hi compute_tba_lo compute_tba_hi compute_tma_lo compute_tma_hi compute_pgm_rsrc1
            compute_pgm_rsrc2 compute_vmid compute_resource_limits compute_static_thread_mgmt_se0
            compute_static_thread_mgmt_se1 compute_tmpring_size compute_static_thread_mgmt_se2
            compute_static_thread_mgmt_se3 compute_restart_x compute_restart_y compute_restart_z
            compute_thread_trace_enable compute_misc_reserved compute_dispatch_id compute_threadgroup_id
            compute_relaunch compute_wave_restore_addr_lo compute_wave_restore_addr_hi
            compute_wave_restore_control
        """),
        ("u39", v9_mqd_u39),
        *each(u32, """
            reserved_43 reserved_44 reserved_45 reserved_46 reserved_47 reserved_48 reserved_49
            reserved_50 reserved_51 reserved_52 reserved_53 reserved_54 reserved_55 reserved_56
            reserved_57 reserved_58 reserved_59 reserved_60 reserved_61 reserved_62 reserved_63
            reserved_64 compute_user_data_0 compute_user_data_1 compute_user_data_2 compute_user_data_3
            compute_user_data_4 compute_user_data_5 compute_user_data_6 compute_user_data_7
            compute_user_data_8 compute_user_data_9 compute_user_data_10 compute_user_data_11
            compute_user_data_12 compute_user_data_13 compute_user_data_14 compute_user_data_15
            cp_compute_csinvoc_count_lo cp_compute_csinvoc_count_hi reserved_83 reserved_84 reserved_85
            cp_mqd_query_time_lo cp_mqd_query_time_hi cp_mqd_connect_start_time_lo
            cp_mqd_connect_start_time_hi cp_mqd_connect_end_time_lo cp_mqd_connect_end_time_hi
            cp_mqd_connect_end_wf_count cp_mqd_connect_end_pq_rptr cp_mqd_connect_end_pq_wptr
            cp_mqd_connect_end_ib_rptr cp_mqd_readindex_lo cp_mqd_readindex_hi cp_mqd_save_start_time_lo
            cp_mqd_save_start_time_hi cp_mqd_save_end_time_lo cp_mqd_save_end_time_hi
            cp_mqd_restore_start_time_lo cp_mqd_restore_start_time_hi cp_mqd_restore_end_time_lo
            cp_mqd_restore_end_time_hi disable_queue reserved_107 gds_cs_ctxsw_cnt0 gds_cs_ctxsw_cnt1
            gds_cs_ctxsw_cnt2 gds_cs_ctxsw_cnt3 reserved_112 reserved_113 cp_pq_exe_status_lo
            cp_pq_exe_status_hi cp_packet_id_lo cp_packet_id_hi cp_packet_exe_status_lo
            cp_packet_exe_status_hi gds_save_base_addr_lo gds_save_base_addr_hi gds_save_mask_lo
            gds_save_mask_hi ctx_save_base_addr_lo ctx_save_base_addr_hi dynamic_cu_mask_addr_lo
            dynamic_cu_mask_addr_hi cp_mqd_base_addr_lo cp_mqd_base_addr_hi cp_hqd_active cp_hqd_vmid
            cp_hqd_persistent_state cp_hqd_pipe_priority cp_hqd_queue_priority cp_hqd_quantum
            cp_hqd_pq_base_lo cp_hqd_pq_base_hi cp_hqd_pq_rptr cp_hqd_pq_rptr_report_addr_lo
            cp_hqd_pq_rptr_report_addr_hi cp_hqd_pq_wptr_poll_addr_lo cp_hqd_pq_wptr_poll_addr_hi
            cp_hqd_pq_doorbell_control reserved_144 cp_hqd_pq_control cp_hqd_ib_base_addr_lo
            cp_hqd_ib_base_addr_hi cp_hqd_ib_rptr cp_hqd_ib_control cp_hqd_iq_timer cp_hqd_iq_rptr
            cp_hqd_dequeue_request cp_hqd_dma_offload cp_hqd_sema_cmd cp_hqd_msg_type
            cp_hqd_atomic0_preop_lo cp_hqd_atomic0_preop_hi cp_hqd_atomic1_preop_lo
            cp_hqd_atomic1_preop_hi cp_hqd_hq_status0 cp_hqd_hq_control0 cp_mqd_control
            cp_hqd_hq_status1 cp_hqd_hq_control1 cp_hqd_eop_base_addr_lo cp_hqd_eop_base_addr_hi
            cp_hqd_eop_control cp_hqd_eop_rptr cp_hqd_eop_wptr cp_hqd_eop_done_events
            cp_hqd_ctx_save_base_addr_lo cp_hqd_ctx_save_base_addr_hi cp_hqd_ctx_save_control
            cp_hqd_cntl_stack_offset cp_hqd_cntl_stack_size cp_hqd_wg_state_offset cp_hqd_ctx_save_size
            cp_hqd_gds_resource_state cp_hqd_error cp_hqd_eop_wptr_mem cp_hqd_aql_control
            cp_hqd_pq_wptr_lo cp_hqd_pq_wptr_hi reserved_184 reserved_185 reserved_186 reserved_187
            reserved_188 reserved_189 reserved_190 reserved_191 iqtimer_pkt_header iqtimer_pkt_dw0
            iqtimer_pkt_dw1 iqtimer_pkt_dw2 iqtimer_pkt_dw3 iqtimer_pkt_dw4 iqtimer_pkt_dw5
            iqtimer_pkt_dw6 iqtimer_pkt_dw7 iqtimer_pkt_dw8 iqtimer_pkt_dw9 iqtimer_pkt_dw10
            iqtimer_pkt_dw11 iqtimer_pkt_dw12 iqtimer_pkt_dw13 iqtimer_pkt_dw14 iqtimer_pkt_dw15
            iqtimer_pkt_dw16 iqtimer_pkt_dw17 iqtimer_pkt_dw18 iqtimer_pkt_dw19 iqtimer_pkt_dw20
            iqtimer_pkt_dw21 iqtimer_pkt_dw22 iqtimer_pkt_dw23 iqtimer_pkt_dw24 iqtimer_pkt_dw25
            iqtimer_pkt_dw26 iqtimer_pkt_dw27 iqtimer_pkt_dw28 iqtimer_pkt_dw29 iqtimer_pkt_dw30
            iqtimer_pkt_dw31
        """),
        ("u222", v9_mqd_u222),
        *each(u32, """
            reserved_227 set_resources_header set_resources_dw1 set_resources_dw2 set_resources_dw3
            set_resources_dw4 set_resources_dw5 set_resources_dw6 set_resources_dw7 reserved_236
            reserved_237 reserved_238 reserved_239 queue_doorbell_id0 queue_doorbell_id1
            queue_doorbell_id2 queue_doorbell_id3 queue_doorbell_id4 queue_doorbell_id5
            queue_doorbell_id6 queue_doorbell_id7 queue_doorbell_id8 queue_doorbell_id9
            queue_doorbell_id10 queue_doorbell_id11 queue_doorbell_id12 queue_doorbell_id13
            queue_doorbell_id14 queue_doorbell_id15 reserved_256 reserved_257 reserved_258 reserved_259
            reserved_260 reserved_261 reserved_262 reserved_263 reserved_264 reserved_265 reserved_266
            reserved_267 reserved_268 reserved_269 reserved_270 reserved_271 reserved_272 reserved_273
            reserved_274 reserved_275 reserved_276 reserved_277 reserved_278 reserved_279 reserved_280
            reserved_281 reserved_282 reserved_283 reserved_284 reserved_285 reserved_286 reserved_287
            reserved_288 reserved_289 reserved_290 reserved_291 reserved_292 reserved_293 reserved_294
            reserved_295 reserved_296 reserved_297 reserved_298 reserved_299 reserved_300 reserved_301
            reserved_302 reserved_303 reserved_304 reserved_305 reserved_306 reserved_307 reserved_308
            reserved_309 reserved_310 reserved_311 reserved_312 reserved_313 reserved_314 reserved_315
            reserved_316 reserved_317 reserved_318 reserved_319 reserved_320 reserved_321 reserved_322
            reserved_323 reserved_324 reserved_325 reserved_326 reserved_327 reserved_328 reserved_329
            reserved_330 reserved_331 reserved_332 reserved_333 reserved_334 reserved_335 reserved_336
            reserved_337 reserved_338 reserved_339 reserved_340 reserved_341 reserved_342 reserved_343
            reserved_344 reserved_345 reserved_346 reserved_347 reserved_348 reserved_349 reserved_350
            reserved_351 reserved_352 reserved_353 reserved_354 reserved_355 reserved_356 reserved_357
            reserved_358 reserved_359 reserved_360 reserved_361 reserved_362 reserved_363 reserved_364
            reserved_365 reserved_366 reserved_367 reserved_368 reserved_369 reserved_370 reserved_371
            reserved_372 reserved_373 reserved_374 reserved_375 reserved_376 reserved_377 reserved_378
            reserved_379 reserved_380 reserved_381 reserved_382 reserved_383 reserved_384 reserved_385
            reserved_386 reserved_387 reserved_388 reserved_389 reserved_390 reserved_391 reserved_392
            reserved_393 reserved_394 reserved_395 reserved_396 reserved_397 reserved_398 reserved_399
            reserved_400 reserved_401 reserved_402 reserved_403 reserved_404 reserved_405 reserved_406
            reserved_407 reserved_408 reserved_409 reserved_410 reserved_411 reserved_412 reserved_413
            reserved_414 reserved_415 reserved_416 reserved_417 reserved_418 reserved_419 reserved_420
            reserved_421 reserved_422 reserved_423 reserved_424 reserved_425 reserved_426 reserved_427
            reserved_428 reserved_429 reserved_430 reserved_431 reserved_432 reserved_433 reserved_434
            reserved_435 reserved_436 reserved_437 reserved_438 reserved_439 reserved_440 reserved_441
            reserved_442 reserved_443 reserved_444 reserved_445 reserved_446 reserved_447 reserved_448
            reserved_449 reserved_450 reserved_451 reserved_452 reserved_453 reserved_454 reserved_455
            reserved_456 reserved_457 reserved_458 reserved_459 reserved_460 reserved_461 reserved_462
            reserved_463 reserved_464 reserved_465 reserved_466 reserved_467 reserved_468 reserved_469
            reserved_470 reserved_471 reserved_472 reserved_473 reserved_474 reserved_475 reserved_476
            reserved_477 reserved_478 reserved_479 reserved_480 reserved_481 reserved_482 reserved_483
            reserved_484 reserved_485 reserved_486 reserved_487 reserved_488 reserved_489 reserved_490
            reserved_491 reserved_492 reserved_493 reserved_494 reserved_495 reserved_496 reserved_497
            reserved_498 reserved_499 reserved_500 reserved_501 reserved_502 reserved_503 reserved_504
            reserved_505 reserved_506 reserved_507 reserved_508 reserved_509 reserved_510 reserved_511
        """),
    ]


class v9_sdma_mqd(Struct):
    _fields_ = [
        *each(u32, """
            sdmax_rlcx_rb_cntl sdmax_rlcx_rb_base sdmax_rlcx_rb_base_hi sdmax_rlcx_rb_rptr
            sdmax_rlcx_rb_rptr_hi sdmax_rlcx_rb_wptr sdmax_rlcx_rb_wptr_hi sdmax_rlcx_rb_wptr_poll_cntl
            sdmax_rlcx_rb_rptr_addr_hi sdmax_rlcx_rb_rptr_addr_lo sdmax_rlcx_ib_cntl sdmax_rlcx_ib_rptr
            sdmax_rlcx_ib_offset sdmax_rlcx_ib_base_lo sdmax_rlcx_ib_base_hi sdmax_rlcx_ib_size
            sdmax_rlcx_skip_cntl sdmax_rlcx_context_status sdmax_rlcx_doorbell sdmax_rlcx_status
            sdmax_rlcx_doorbell_log sdmax_rlcx_watermark sdmax_rlcx_doorbell_offset
            sdmax_rlcx_csa_addr_lo sdmax_rlcx_csa_addr_hi sdmax_rlcx_ib_sub_remain sdmax_rlcx_preempt
            sdmax_rlcx_dummy_reg sdmax_rlcx_rb_wptr_poll_addr_hi sdmax_rlcx_rb_wptr_poll_addr_lo
            sdmax_rlcx_rb_aql_cntl sdmax_rlcx_minor_ptr_update sdmax_rlcx_midcmd_data0
            sdmax_rlcx_midcmd_data1 sdmax_rlcx_midcmd_data2 sdmax_rlcx_midcmd_data3
            sdmax_rlcx_midcmd_data4 sdmax_rlcx_midcmd_data5 sdmax_rlcx_midcmd_data6
            sdmax_rlcx_midcmd_data7 sdmax_rlcx_midcmd_data8 sdmax_rlcx_midcmd_cntl reserved_42
            reserved_43 sdmax_rlcx_utilization_lo sdmax_rlcx_utilization_hi reserved_46 reserved_47
            reserved_48 reserved_49 reserved_50 reserved_51 reserved_52 reserved_53 reserved_54
            reserved_55 reserved_56 reserved_57 reserved_58 reserved_59 reserved_60 reserved_61
            reserved_62 reserved_63 reserved_64 reserved_65 reserved_66 reserved_67 reserved_68
            reserved_69 reserved_70 reserved_71 reserved_72 reserved_73 reserved_74 reserved_75
            reserved_76 reserved_77 reserved_78 reserved_79 reserved_80 reserved_81 reserved_82
            reserved_83 reserved_84 reserved_85 reserved_86 reserved_87 reserved_88 reserved_89
            reserved_90 reserved_91 reserved_92 reserved_93 reserved_94 reserved_95 reserved_96
            reserved_97 reserved_98 reserved_99 reserved_100 reserved_101 reserved_102 reserved_103
            reserved_104 reserved_105 reserved_106 reserved_107 reserved_108 reserved_109 reserved_110
            reserved_111 reserved_112 reserved_113 reserved_114 reserved_115 reserved_116 reserved_117
            reserved_118 reserved_119 reserved_120 reserved_121 reserved_122 reserved_123 reserved_124
            reserved_125 sdma_engine_id sdma_queue_id
        """),
    ]


class v9_mqd_allocation(Struct):
    _fields_ = [
        ("mqd", v9_mqd),
        *each(u32, "wptr_poll_mem rptr_report_mem dynamic_cu_mask dynamic_rb_mask"),
    ]
